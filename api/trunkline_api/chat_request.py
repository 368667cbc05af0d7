"""A chat completion request as a run: from OpenAI's shapes to the neutral transcript."""

from collections.abc import Sequence
from typing import Any, cast

from trunkline_api.errors import invalid
from trunkline_api.wire import messages as wire
from trunkline_api.wire.chat import ChatRequest
from trunkline_api.wire.chat_rules import check_results
from trunkline_api.wire.tools import (
    AllowedChoice,
    CustomChoice,
    CustomTool,
    FunctionChoice,
    JsonSchemaFormat,
)
from trunkline_api.wire.tools import Tool as WireTool
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import (
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    Item,
    Message,
    Options,
    Part,
    Role,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

# Options that are called the same on both sides.
_SAME_NAME = frozenset(
    {
        "temperature",
        "top_p",
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
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "user",
        "safety_identifier",
        "metadata",
    }
)
# Who says no more asks for an answer as the agent gives it.
_TALK = frozenset({"messages", "model", "store", "stream", "stream_options"})


def fill_in(run: RunRequest, request: ChatRequest) -> None:
    """Writes into a plain run all that the request says, and no more.

    Raises ApiError 400 for a turn of a conversation that says nothing new, and for calls and
    results that do not go together.
    """
    if run.conversation and request.messages[-1].role == "assistant":
        raise invalid(
            "messages",
            "In a conversation the last of the 'messages' is what the user or a tool says next.",
        )
    check_results(request.messages, in_conversation=bool(run.conversation))
    run.stream = bool(request.stream)
    run.store = bool(request.store)
    run.transcript = _items(request.messages)
    if request.model_fields_set <= _TALK:
        return
    run.options = _options(request)
    run.tools = [_tool(tool) for tool in request.tools or ()]
    run.tool_choice = _choice(request)
    run.format = _format(request)


def _items(messages: list[wire.Message]) -> list[Item]:
    items: list[Item] = []
    # Old function calls have no id: one is made up, by which their results find them again.
    called: dict[str, str] = {}
    for index, message in enumerate(messages):
        if message.role in ("user", "system", "developer"):
            items.append(_said(message.role, _parts(message.content), message.name))
        elif message.role == "assistant":
            items += _assistant(message)
            if message.function_call is not None:
                call_id = called[message.function_call.name] = f"call_{index}"
                items.append(_function_call(call_id, message.function_call))
        elif message.role == "tool":
            items.append(_result(message.tool_call_id, message.content))
        elif message.role == "function":
            items.append(_result(called[message.name], message.content or ""))
    return items


def _assistant(message: wire.AssistantMessage) -> list[Item]:
    items: list[Item] = []
    if isinstance(message.reasoning_content, str) and message.reasoning_content:
        items.append({"type": "reasoning", "text": message.reasoning_content})
    content = [] if message.content is None else _parts(message.content)
    if message.refusal:
        content.append({"type": "refusal", "text": message.refusal})
    calls = message.tool_calls or []
    # Clients write "" where they mean null.
    if content and not (message.content == "" and calls):
        items.append(_said("assistant", content, message.name))
    for call in calls:
        if call.custom is not None and call.type == "custom":
            items.append(
                {
                    "type": "tool_call",
                    "id": call.id,
                    "name": call.custom.name,
                    "arguments": call.custom.input,
                    "kind": "custom",
                }
            )
        elif call.function is not None:
            items.append(_function_call(call.id, call.function))
    return items


def _said(role: Role, content: list[Part], name: str | None) -> Message:
    message: Message = {"type": "message", "role": role, "content": content}
    if name is not None:
        message["name"] = name
    return message


def _function_call(call_id: str, call: wire.FunctionCall) -> ToolCall:
    return {
        "type": "tool_call",
        "id": call_id,
        "name": call.name,
        "arguments": call.arguments,
        "kind": "function",
    }


def _result(call_id: str, content: str | Sequence[wire.AnyPart]) -> ToolResult:
    return {"type": "tool_result", "id": call_id, "content": _parts(content)}


def _parts(content: str | Sequence[wire.AnyPart]) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(part) for part in content]


def _part(part: wire.AnyPart) -> Part:
    if part.type == "text":
        return {"type": "text", "text": part.text}
    if part.type == "refusal":
        return {"type": "refusal", "text": part.refusal}
    if part.type == "image_url":
        image = ImagePart(type="image", url=part.image_url.url)
        if part.image_url.detail is not None:
            image["detail"] = part.image_url.detail
        return image
    if part.type == "input_audio":
        audio = part.input_audio
        return AudioPart(type="audio", data=audio.data, format=audio.format)
    return _file(part.file)


def _file(source: wire.FileSource) -> FilePart:
    part = FilePart(type="file")
    if source.file_id is not None:
        part["file_id"] = source.file_id
    if source.filename is not None:
        part["filename"] = source.filename
    if source.file_data is not None:
        part["data"] = source.file_data
    return part


def _options(request: ChatRequest) -> Options:
    said = sorted(request.model_fields_set & _SAME_NAME)
    options: dict[str, Any] = {name: getattr(request, name) for name in said}
    options["max_output_tokens"] = request.max_completion_tokens or request.max_tokens
    options["stop"] = [request.stop] if isinstance(request.stop, str) else request.stop
    if request.prediction is not None:
        options["prediction"] = request.prediction.model_dump()
    return cast(Options, {name: value for name, value in options.items() if value is not None})


def _tool(tool: WireTool) -> Tool:
    if isinstance(tool, CustomTool):
        neutral = Tool(type="custom", name=tool.custom.name)
        form = tool.custom.format
        spec = None if form is None else form.model_dump()
        description, strict = tool.custom.description, None
    else:
        function = tool.function
        neutral = Tool(type="function", name=function.name)
        description, spec, strict = function.description, function.parameters, function.strict
    if description is not None:
        neutral["description"] = description
    if spec is not None:
        neutral["spec"] = spec
    if strict is not None:
        neutral["strict"] = strict
    return neutral


def _choice(request: ChatRequest) -> ToolChoice | None:
    match request.tool_choice:
        case None:
            return None
        case AllowedChoice(allowed_tools=allowed):
            return ToolChoice(
                mode="allowed" if allowed.mode == "auto" else "allowed_required",
                tools=[_reference(tool) for tool in allowed.tools],
            )
        case FunctionChoice() | CustomChoice() as tool:
            return ToolChoice(mode="named", tools=[_reference(tool)])
        case mode:
            return ToolChoice(mode=mode)


def _reference(tool: FunctionChoice | CustomChoice) -> Tool:
    name = tool.function.name if isinstance(tool, FunctionChoice) else tool.custom.name
    return Tool(type=tool.type, name=name)


def _format(request: ChatRequest) -> Format | None:
    wanted = request.response_format
    if wanted is None:
        return None
    neutral = Format(type=wanted.type)
    if isinstance(wanted, JsonSchemaFormat):
        schema = wanted.json_schema
        neutral["name"] = schema.name
        if schema.description is not None:
            neutral["description"] = schema.description
        neutral["schema"] = schema.schema_
        if schema.strict is not None:
            neutral["strict"] = schema.strict
    return neutral
