"""What a response repeats of its request, with OpenAI's values for what the request left out."""

from typing import Any

from trunkline_api.wire.response_tools import (
    FlatCustomTool,
    FlatFunctionTool,
    FlatJsonSchemaFormat,
    NamespaceTool,
    Tool,
)
from trunkline_api.wire.responses import ResponsesRequest

_AS_GIVEN = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
)
_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("frequency_penalty", 0.0),
    ("parallel_tool_calls", True),
    ("presence_penalty", 0.0),
    ("service_tier", "default"),
    ("temperature", 1.0),
    ("top_logprobs", 0),
    ("top_p", 1.0),
)


def echo(request: ResponsesRequest) -> dict[str, Any]:
    """Members of the response, ready for JSON."""
    values: dict[str, Any] = {name: getattr(request, name) for name in _AS_GIVEN}
    for name, default in _DEFAULTS:
        given = getattr(request, name)
        values[name] = default if given is None else given
    if request.prompt_cache_options is not None:
        applied = {"mode": "implicit", "ttl": "30m", **request.prompt_cache_options}
        values["prompt_cache_options"] = applied
    choice, named = request.tool_choice, request.conversation_id
    return values | {
        "conversation": None if named is None else {"id": named},
        "background": bool(request.background),
        "metadata": request.metadata or {},
        "reasoning": _reasoning(request),
        "store": request.is_stored,
        "text": _text(request),
        "tool_choice": "auto" if choice is None else _plain(choice),
        "tools": [_tool(tool) for tool in request.tools or ()],
        "truncation": request.truncation or "disabled",
    }


def _plain(choice: Any) -> Any:
    return choice if isinstance(choice, str) else choice.model_dump(exclude_none=True)


def _reasoning(request: ResponsesRequest) -> dict[str, Any]:
    given = request.reasoning
    if given is None:
        return {"effort": None, "summary": None}
    told: dict[str, Any] = {"effort": given.effort, "summary": given.wanted_summary}
    for name in ("generate_summary", "context", "mode"):
        if (value := getattr(given, name)) is not None:
            told[name] = value
    return told


def _text(request: ResponsesRequest) -> dict[str, Any]:
    text: dict[str, Any] = {"format": {"type": "text"}}
    if request.text is None:
        return text
    if request.text.verbosity is not None:
        text["verbosity"] = request.text.verbosity
    match request.text.format:
        case None:
            pass
        case FlatJsonSchemaFormat() as wanted:
            text["format"] = {
                "type": wanted.type,
                "name": wanted.name,
                "description": wanted.description,
                "schema": wanted.schema_,
                "strict": bool(wanted.strict),
            }
        case wanted:
            text["format"] = {"type": wanted.type}
    return text


def _tool(tool: Tool) -> dict[str, Any]:
    match tool:
        case FlatFunctionTool():
            return {
                "type": tool.type,
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": tool.strict,
            }
        case FlatCustomTool():
            form = tool.format.model_dump() if tool.format else {"type": "text"}
            described = {} if tool.description is None else {"description": tool.description}
            return {"type": tool.type, "name": tool.name, **described, "format": form}
        case NamespaceTool():
            return tool.model_dump(exclude_unset=True)
        case _:
            return tool.model_dump()
