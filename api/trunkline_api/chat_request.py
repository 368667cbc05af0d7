"""A chat completion request as a run: from OpenAI's shapes to the neutral transcript."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

from trunkline_api.errors import invalid
from trunkline_api.wire import messages as wire
from trunkline_api.wire.chat import ChatRequest
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
    Reasoning,
    RefusalPart,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

# Options that are called the same on both sides.
_SAME_NAME = (
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
)


def to_run(request: ChatRequest, run: RunRequest) -> RunRequest:
    """`run` with all that the request says, and no more.

    Raises ApiError 400 for a turn of a conversation that says nothing new.
    """
    if run.conversation and isinstance(request.messages[-1], wire.AssistantMessage):
        raise invalid(
            "messages",
            "In a conversation the last of the 'messages' is what the user or a tool says next.",
        )
    return replace(
        run,
        stream=bool(request.stream),
        transcript=list(_items(request.messages)),
        options=_options(request),
        tools=[_tool(tool) for tool in request.tools or ()],
        tool_choice=_choice(request),
        format=_format(request),
    )


def _items(messages: list[wire.Message]) -> Iterator[Item]:
    # Old function calls have no id: one is made up, by which their results find them again.
    called: dict[str, str] = {}
    for index, message in enumerate(messages):
        match message:
            case wire.AssistantMessage():
                yield from _assistant(message)
                if message.function_call is not None:
                    call_id = called[message.function_call.name] = f"call_{index}"
                    yield _function_call(call_id, message.function_call)
            case wire.ToolMessage():
                yield ToolResult(
                    type="tool_result", id=message.tool_call_id, content=_parts(message.content)
                )
            case wire.FunctionMessage():
                yield ToolResult(
                    type="tool_result",
                    id=called[message.name],
                    content=_parts(message.content or ""),
                )
            case _:
                said = Message(type="message", role=message.role, content=_parts(message.content))
                yield _named(said, message.name)


def _assistant(message: wire.AssistantMessage) -> Iterator[Item]:
    if isinstance(message.reasoning_content, str) and message.reasoning_content:
        yield Reasoning(type="reasoning", text=message.reasoning_content)
    content = [] if message.content is None else _parts(message.content)
    if message.refusal:
        content.append(RefusalPart(type="refusal", text=message.refusal))
    calls = message.tool_calls or []
    # Clients write "" where they mean null.
    if content and not (message.content == "" and calls):
        yield _named(Message(type="message", role="assistant", content=content), message.name)
    for call in calls:
        if call.custom is not None and call.type == "custom":
            yield ToolCall(
                type="tool_call",
                id=call.id,
                name=call.custom.name,
                arguments=call.custom.input,
                kind="custom",
            )
        elif call.function is not None:
            yield _function_call(call.id, call.function)


def _function_call(call_id: str, call: wire.FunctionCall) -> ToolCall:
    return ToolCall(
        type="tool_call", id=call_id, name=call.name, arguments=call.arguments, kind="function"
    )


def _named(message: Message, name: str | None) -> Message:
    if name is not None:
        message["name"] = name
    return message


def _parts(content: str | list[Any]) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(type="text", text=content)]
    return [_part(part) for part in content]


def _part(part: wire.AnyPart) -> Part:
    match part:
        case wire.TextPart():
            return TextPart(type="text", text=part.text)
        case wire.ImagePart():
            image = ImagePart(type="image", url=part.image_url.url)
            if part.image_url.detail is not None:
                image["detail"] = part.image_url.detail
            return image
        case wire.AudioPart():
            return AudioPart(
                type="audio", data=part.input_audio.data, format=part.input_audio.format
            )
        case wire.RefusalPart():
            return RefusalPart(type="refusal", text=part.refusal)
        case wire.FilePart():
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
    options: dict[str, Any] = {name: getattr(request, name) for name in _SAME_NAME}
    options["max_output_tokens"] = request.max_completion_tokens or request.max_tokens
    options["stop"] = [request.stop] if isinstance(request.stop, str) else request.stop
    if request.prediction is not None:
        options["prediction"] = request.prediction.model_dump()
    return cast(Options, {name: value for name, value in options.items() if value is not None})


def _tool(tool: WireTool) -> Tool:
    if isinstance(tool, CustomTool):
        neutral = Tool(type="custom", name=tool.custom.name)
        description, spec, strict = tool.custom.description, tool.custom.format, None
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
        if schema.schema_ is not None:
            neutral["schema"] = schema.schema_
        if schema.strict is not None:
            neutral["strict"] = schema.strict
    return neutral
