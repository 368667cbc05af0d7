"""The OpenAPI document: what FastAPI knows, and the chat route, which is outside of it."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from trunkline_api.wire.chat import ChatRequest
from trunkline_api.wire.chat_reply import ChatCompletion, ChatCompletionChunk
from trunkline_api.wire.models import ErrorReply
from trunkline_api.wire.profiles import RenameProfile, SaveProfile, ValidateProfile

_REF: Final = "#/components/schemas/{model}"
_ERRORS: Final = (
    ("400", "The request has to change; `param` names the member."),
    ("401", "No API key, or one that is wrong or has expired."),
    ("403", "The API key is not for this model."),
    ("404", "No agent has this id."),
    ("413", "The body is too large."),
    ("429", "Too many requests; `retry-after` says when to try again."),
    ("500", "The run broke."),
    ("502", "The agent's model provider failed."),
    ("503", "No worker was free, or none can run this agent; `retry-after` says when to try."),
    ("504", "The run or its model provider took too long."),
)
_EXAMPLES: Final = (
    ("plain", "One answer", False),
    ("stream", "A stream with usage", True),
)

# Of routes that read their bodies themselves.
_BODIES: Final[Mapping[str, type[BaseModel]]] = {
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


def openapi_document(app: FastAPI, default_model: str) -> dict[str, Any]:
    """The whole document; `default_model` is what its examples ask."""
    document: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    wanted: list[type[BaseModel]] = [ChatRequest, ChatCompletion, ChatCompletionChunk, ErrorReply]
    bodies = {path: model for path, model in _BODIES.items() if path in document["paths"]}
    wanted += bodies.values()
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
    chat = {"post": _chat_operation(default_model)}
    document["paths"] = {"/v1/chat/completions": chat, **document["paths"]}
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


def _chat_operation(default_model: str) -> dict[str, Any]:
    examples = {
        name: {"summary": summary, "value": _example(default_model, stream=stream)}
        for name, summary, stream in _EXAMPLES
    }
    body = {"schema": _ref("ChatRequest"), "examples": examples}
    success = {
        "description": "The answer: one object, or with `stream` server-sent events, each a chunk, "
        'the last one `[DONE]`. An error after the first byte is a chunk `{"error": ...}`.',
        "content": {
            "application/json": {"schema": _ref("ChatCompletion")},
            "text/event-stream": {"schema": _ref("ChatCompletionChunk")},
        },
        "headers": {"x-request-id": {"schema": {"type": "string"}}},
    }
    return {
        "tags": ["Chat"],
        "summary": "Ask an agent",
        "description": "Runs the agent that `model` names on the messages. Members that are not "
        "listed are ignored; listed ones are applied, or refused with 400.",
        "operationId": "create_chat_completion",
        "security": [{"bearer": []}, {"session": []}, {}],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": success, **{status: _error(text) for status, text in _ERRORS}},
    }


def _example(model: str, *, stream: bool) -> dict[str, Any]:
    example: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Say hello to a stranger."}],
    }
    if stream:
        example |= {"stream": True, "stream_options": {"include_usage": True}}
    return example


def _error(description: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("ErrorReply")}}
    return {"description": description, "content": content}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}
