"""A run's request as the JSON body that an OpenAI-compatible upstream reads. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Format, Tool, ToolChoice, text_of
from trunkline_worker.backends.chat_messages import OPENAI, STRICT, Json, messages
from trunkline_worker.backends.limits import CHARS_PER_TOKEN
from trunkline_worker.models import ModelSpec

# Settings and options that have the upstream's own name.
_PASSED: Final = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "user",
    "safety_identifier",
)

# They change no answer; upstreams that are strict about fields do without.
_HINTS: Final = frozenset(
    {
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "safety_identifier",
        "user",
        "verbosity",
    }
)


def chat_body(
    request: RunRequest, agent: AgentConfig, spec: ModelSpec, max_tokens: int | None
) -> Json:
    """The body of `POST /chat/completions`, always streaming and with usage.

    The caller's options stand over the agent's settings, `extra_body` over everything but
    the streaming. `max_tokens` is the least of all limits that the upstream is told of.
    """
    body: Json = {"model": spec.name, "messages": messages(request, agent, spec.provider)}
    body |= _options({**spec.settings, **request.options}, spec.provider)
    if max_tokens is not None:
        body[spec.max_tokens_field] = max_tokens
    if request.tools or request.tool_choice is not None:
        body |= _tools(request.tools, request.tool_choice, openai=spec.provider in OPENAI)
    if request.format is not None and request.format["type"] != "text":
        body["response_format"] = _format(request.format)
    body |= spec.extra_body
    # The upstream takes metadata only where it stores the completion, which is the operator's call.
    if body.get("store") and (metadata := request.options.get("metadata")):
        body["metadata"] = metadata
    body["stream"] = True
    if spec.takes_stream_options:
        body["stream_options"] = {"include_usage": True}
    return body


def _options(options: Mapping[str, Any], provider: str) -> Json:
    if not options:
        return {}
    values = {name: options[name] for name in _PASSED if options.get(name) is not None}
    if provider in STRICT:
        values = {name: value for name, value in values.items() if name not in _HINTS}
    if provider == "mistral" and "seed" in values:
        values["random_seed"] = values.pop("seed")
    return values


def _tools(tools: Sequence[Tool], choice: ToolChoice | None, *, openai: bool) -> Json:
    body: Json = {}
    if choice is not None:
        mode = choice["mode"]
        chosen = choice.get("tools", [])
        if mode in ("none", "auto", "required"):
            body["tool_choice"] = mode
        elif mode == "named":
            body["tool_choice"] = _reference(chosen[0])
        else:
            allowed = "required" if mode == "allowed_required" else "auto"
            body["tool_choice"] = allowed
            if openai:
                references = [_reference(tool) for tool in chosen]
                form = {"mode": allowed, "tools": references}
                body["tool_choice"] = {"type": "allowed_tools", "allowed_tools": form}
            else:  # the same for upstreams that do not know the form
                names = {(tool["type"], tool["name"]) for tool in chosen}
                tools = [tool for tool in tools if (tool["type"], tool["name"]) in names]
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    return body


def _reference(tool: Tool) -> Json:
    return {"type": tool["type"], tool["type"]: {"name": tool["name"]}}


def _tool(tool: Tool) -> Json:
    form: Json = {"name": tool["name"]}
    if "description" in tool:
        form["description"] = tool["description"]
    if "spec" in tool:
        form["format" if tool["type"] == "custom" else "parameters"] = tool["spec"]
    if "strict" in tool:
        form["strict"] = tool["strict"]
    return {"type": tool["type"], tool["type"]: form}


def _format(wanted: Format) -> Json:
    if wanted["type"] != "json_schema":
        return {"type": wanted["type"]}
    keys = ("name", "description", "schema", "strict")
    schema = {key: value for key in keys if (value := wanted.get(key)) is not None}
    return {"type": "json_schema", "json_schema": schema}


def input_tokens(request: RunRequest, agent: AgentConfig) -> int:
    """An estimate of what the request costs to read. Images, audio and files count for nothing."""
    chars = sum(map(len, agent.system_prompt))
    for item in request.transcript:
        match item["type"]:
            case "message" | "tool_result":
                chars += len(text_of(item["content"]))
            case "tool_call":
                chars += len(item["arguments"])
            case "reasoning" | "opaque":
                pass
    if request.tools:
        chars += len(orjson.dumps(request.tools))
    return -(-chars // CHARS_PER_TOKEN)
