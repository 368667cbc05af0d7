"""The OpenAPI document: what FastAPI knows, and the routes that run agents, outside of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from trunkline_api import idempotency
from trunkline_api.shown_tools import HEADER
from trunkline_api.wire.chat import ChatRequest
from trunkline_api.wire.chat_reply import ChatCompletion, ChatCompletionChunk
from trunkline_api.wire.completions import CompletionChange
from trunkline_api.wire.conversation_items import AddItems, CreateConversation, UpdateMetadata
from trunkline_api.wire.input_only import (
    CompactedResponse,
    CompactRequest,
    InputTokens,
    InputTokensRequest,
)
from trunkline_api.wire.models import ErrorReply
from trunkline_api.wire.profiles import RenameProfile, SaveProfile, ValidateProfile
from trunkline_api.wire.response_reply import ResponseEvent, ResponseObject
from trunkline_api.wire.responses import ResponsesRequest

_REF: Final = "#/components/schemas/{model}"
_ERRORS: Final = (
    ("400", "The request has to change; `param` names the member."),
    ("401", "No API key, or one that is wrong or has expired."),
    ("403", "The API key is not for this model."),
    ("404", "No agent has this id."),
    ("409", "The run was cancelled, or what came of it is gone."),
    ("413", "The body is too large."),
    ("422", "The `Idempotency-Key` was sent before with another request."),
    ("429", "Too many requests; `retry-after` says when to try again."),
    ("500", "The run broke."),
    ("502", "The agent's model provider failed."),
    ("503", "No worker was free, or none can run this agent; `retry-after` says when to try."),
    ("504", "The run or its model provider took too long."),
)


@dataclass(frozen=True, slots=True)
class _Ask:
    """An endpoint that runs an agent."""

    tag: str
    summary: str
    asked: str
    operation_id: str
    request: type[BaseModel]
    reply: type[BaseModel]
    event: type[BaseModel] | None
    ending: str
    examples: dict[str, tuple[str, dict[str, Any]]]


_HELLO: Final = "Say hello to a stranger."
_ASKS: Final = {
    "/v1/chat/completions": _Ask(
        "Chat",
        "Ask an agent",
        "on the messages",
        "create_chat_completion",
        ChatRequest,
        ChatCompletion,
        ChatCompletionChunk,
        "each a chunk, the last one `[DONE]`. An error after the first byte is a chunk "
        '`{"error": ...}`.',
        {
            "plain": ("One answer", {"messages": [{"role": "user", "content": _HELLO}]}),
            "stream": (
                "A stream with usage",
                {
                    "messages": [{"role": "user", "content": _HELLO}],
                    "stream": True,
                    "stream_options": {"include_usage": True},
                },
            ),
        },
    ),
    "/v1/responses": _Ask(
        "Responses",
        "Ask an agent for a response",
        "on the input and on what went before it",
        "create_response",
        ResponsesRequest,
        ResponseObject,
        ResponseEvent,
        "from `response.created` on. An error after the first byte is `response.failed`.",
        {
            "plain": ("One answer", {"input": _HELLO}),
            "stream": (
                "A stream that is not stored",
                {"instructions": "Be brief.", "input": _HELLO, "stream": True, "store": False},
            ),
            "background": ("A run that goes on by itself", {"input": _HELLO, "background": True}),
        },
    ),
    "/v1/responses/compact": _Ask(
        "Responses",
        "Sum a conversation up",
        "on a conversation, of which it writes a summary",
        "compact_response",
        CompactRequest,
        CompactedResponse,
        None,
        "",
        {"plain": ("A conversation", {"input": [{"role": "user", "content": _HELLO}]})},
    ),
    "/v1/responses/input_tokens": _Ask(
        "Responses",
        "Count what an agent would read",
        "without asking for an answer",
        "count_input_tokens",
        InputTokensRequest,
        InputTokens,
        None,
        "",
        {"plain": ("One question", {"input": _HELLO})},
    ),
}

_SHOWN: Final = {
    "name": HEADER,
    "in": "header",
    "description": "`tools`: chat completions tell what the agent does itself, too.",
    "schema": {"type": "string", "enum": ["tools"]},
}

_KEY: Final = {
    "name": idempotency.HEADER,
    "in": "header",
    "description": "The same request sent again under it is told of the same run.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

# Of routes that read their bodies themselves.
_BODIES: Final[Mapping[str, type[BaseModel]]] = {
    "/v1/chat/completions/{completion_id}": CompletionChange,
    "/v1/conversations": CreateConversation,
    "/v1/conversations/{conversation_id}": UpdateMetadata,
    "/v1/conversations/{conversation_id}/items": AddItems,
    "/api/profiles/{name}": SaveProfile,
    "/api/profiles/{name}/rename": RenameProfile,
    "/api/profiles/{name}/validate": ValidateProfile,
}


def package_version() -> str:
    """The installed distribution's version."""
    try:
        return version("trunkline")
    except PackageNotFoundError:
        return "0+unknown"


def openapi_document(app: FastAPI, paths: Iterable[str], default_model: str) -> dict[str, Any]:
    """The whole document; `paths` run agents, `default_model` is what their examples ask."""
    asks = {path: _ASKS[path] for path in paths}
    document: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    bodies = {path: model for path, model in _BODIES.items() if path in document["paths"]}
    wanted: list[type[BaseModel]] = [ErrorReply, *bodies.values()]
    for ask in asks.values():
        wanted += filter(None, (ask.request, ask.reply, ask.event))
    _, definitions = models_json_schema(
        [(model, "validation") for model in wanted], ref_template=_REF
    )
    schemas.update(definitions["$defs"])
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "header", "name": "X-Session-API-Key"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _correct(path, operation)
    for path, model in bodies.items():
        content = {"application/json": {"schema": _ref(model.__name__)}}
        document["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    asking: dict[str, Any] = {}
    for path, ask in asks.items():
        asking[path] = {"post": _operation(ask, default_model), **document["paths"].pop(path, {})}
    document["paths"] = asking | document["paths"]
    return document


def _correct(path: str, operation: dict[str, Any]) -> None:
    # FastAPI announces 422 for every route with a parameter, with a body that is not ours.
    if operation["responses"].pop("422", None) and path.startswith("/api/"):
        operation["responses"]["422"] = _error("A parameter or the body; `detail` lists mistakes.")
    if path.startswith(("/v1/", "/api/", "/server_info")):
        operation["security"] = [{"bearer": []}, {"session": []}, {}]
        operation["responses"]["401"] = _error("No API key, or one that is wrong or has expired.")
    if "{" in path:
        operation["responses"]["404"] = _error("Nothing has this id.")
    if path == "/v1/models/{model}":
        operation["responses"]["403"] = _error("The API key is not for this model.")
    if path in ("/health", "/ready"):
        operation["responses"]["503"] = _error("Not now; `code` says why.")


def _operation(ask: _Ask, model: str) -> dict[str, Any]:
    examples = {
        name: {"summary": summary, "value": {"model": model, **value}}
        for name, (summary, value) in ask.examples.items()
    }
    body = {"schema": _ref(ask.request.__name__), "examples": examples}
    content = {"application/json": {"schema": _ref(ask.reply.__name__)}}
    told = "One object."
    if ask.event is not None:
        content["text/event-stream"] = {"schema": _ref(ask.event.__name__)}
        told = "The answer: one object, or with `stream` server-sent events, " + ask.ending
    success = {
        "description": told,
        "content": content,
        "headers": {
            name: {"schema": {"type": "string"}} for name in ("x-request-id", idempotency.REPLAYED)
        },
    }
    return {
        "tags": [ask.tag],
        "summary": ask.summary,
        "description": f"Runs the agent that `model` names {ask.asked}. Members that are not "
        "listed are ignored; listed ones are applied, or refused with 400.",
        "operationId": ask.operation_id,
        "security": [{"bearer": []}, {"session": []}, {}],
        "parameters": [_SHOWN, _KEY],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": success, **{status: _error(text) for status, text in _ERRORS}},
    }


def _error(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("ErrorReply")}}
    return {"description": description, "content": content}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}
