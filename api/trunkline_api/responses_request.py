"""A Responses request as a run, and what its replies echo of it."""

from collections.abc import Sequence
from typing import Any, cast

from trunkline_api.errors import invalid
from trunkline_api.wire import response_items as wire
from trunkline_api.wire.namespaces import offered, spelled
from trunkline_api.wire.response_items import InputItem
from trunkline_api.wire.response_rules import check_results, is_trigger
from trunkline_api.wire.response_tools import (
    AllowedToolsChoice,
    CustomToolChoice,
    FlatCustomTool,
    FlatFunctionTool,
    FlatGrammarFormat,
    FlatJsonSchemaFormat,
    FunctionToolChoice,
)
from trunkline_api.wire.responses import ResponsesRequest
from trunkline_shared.conversation import is_assistants
from trunkline_shared.fold import INTERRUPTED, answered
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import (
    AudioPart,
    FilePart,
    Format,
    ImagePart,
    Item,
    Message,
    Opaque,
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

ORIGIN = "responses"
"""Of opaque items that came in through this API."""

# Options that are called the same on both sides.
_SAME_NAME = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "max_output_tokens",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "user",
        "safety_identifier",
        "metadata",
    }
)


def fill_in(run: RunRequest, request: ResponsesRequest, before: Sequence[Item]) -> None:
    """Writes into a plain run all that the request says, after the items `before` of the responses
    that it follows.

    Raises ApiError 400 for what does not go together with a conversation, and for calls and
    results that do not go together.
    """
    own = input_items(request)
    if run.conversation:
        _check_turn(request, own)
    sent = () if isinstance(request.input, str) else request.input
    check_results(sent, _unanswered(before), in_conversation=bool(run.conversation))
    tools = [_tool(name, tool) for _, name, tool in offered(request.tools)]
    if request.background:
        run.reply = ""  # nobody waits for it
    run.stream = bool(request.stream)
    run.on_lost = "continue"
    run.transcript = [*before, *own]
    run.instructions = request.instructions or ""
    run.options = _options(request, has_tools=bool(tools))
    run.tools = tools
    run.tool_choice = _choice(request) if tools else None
    run.format = _format(request)
    run.all_new = request.conversation is not None
    run.store = request.is_stored
    run.max_tool_calls = request.max_tool_calls
    run.truncate = request.truncation == "auto"
    run.compact_above = request.compact_above
    if sent and is_trigger(sent[-1]):
        run.purpose = "compact"


def input_items(request: ResponsesRequest) -> list[Item]:
    """The request's own items, which are what is stored of it."""
    if isinstance(request.input, str):
        return [Message(type="message", role="user", content=_parts(request.input))]
    return neutral(request.input)


def neutral(items: Sequence[InputItem]) -> list[Item]:
    return [each for item in items if not is_trigger(item) for each in _items(item)]


def _unanswered(before: Sequence[Item]) -> dict[str, bool]:
    """Whether each of the caller's calls has no result yet, by its id."""
    found: dict[str, bool] = {}
    for item in before:
        if item["type"] in ("tool_call", "tool_result") and "toolset" not in item:
            found[item["id"]] = item["type"] == "tool_call"
    return found


def _check_turn(request: ResponsesRequest, own: Sequence[Item]) -> None:
    if request.previous_response_id is not None:
        raise invalid(
            "previous_response_id",
            "A run is part of a conversation or follows a response, not both: "
            "leave out 'previous_response_id' or the conversation's header.",
        )
    if own and is_assistants(own[-1]):
        raise invalid(
            "input", "In a conversation the last of 'input' is what the user or a tool says next."
        )


def _items(item: Any) -> list[Item]:
    return [*_activity(item)] if isinstance(item, wire.McpCall) else [_item(item)]


def _activity(item: wire.McpCall) -> tuple[ToolCall, ToolResult]:
    call = ToolCall(
        type="tool_call",
        id=item.id,
        name=item.name,
        arguments=item.arguments,
        kind="function",
    )
    if item.output is None and item.error is None:
        return answered(call, item.server_label, "", INTERRUPTED)
    return answered(call, item.server_label, item.output or "", _words(item.error))


def _words(error: str | dict[str, Any] | None) -> str | None:
    """What an error of a call says, in any of the shapes that clients have for it."""
    if error is None or isinstance(error, str):
        return error
    content = error.get("content")
    said = error.get("message")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        said = "\n".join(text for text in texts if isinstance(text, str))
    return said if isinstance(said, str) and said else "The call failed."


def _item(item: Any) -> Item:
    match item:
        case wire.InputMessage() | wire.OutputMessage():
            return _message(item)
        case wire.FunctionCallItem():
            return _call(item, item.arguments)
        case wire.CustomToolCall():
            return _call(item, item.input)
        case wire.FunctionCallOutput():
            return ToolResult(type="tool_result", id=item.call_id, content=_parts(item.output))
        case wire.CustomToolCallOutput():
            content = _parts(item.output)
            return ToolResult(type="tool_result", id=item.call_id, content=content, kind="custom")
        case wire.ReasoningItem():
            return _reasoning(item)
        case wire.AdditionalTools():
            return Opaque(type="opaque", origin=ORIGIN, value=item.model_dump(exclude_unset=True))
        case _:
            return Opaque(type="opaque", origin=ORIGIN, value=item)


def _message(item: wire.InputMessage | wire.OutputMessage) -> Message:
    message = Message(type="message", role=item.role, content=_parts(item.content))
    if isinstance(item, wire.OutputMessage) and item.phase is not None:
        message["phase"] = item.phase
    return message


def _call(item: wire.FunctionCallItem | wire.CustomToolCall, arguments: str) -> ToolCall:
    call = ToolCall(
        type="tool_call",
        id=item.call_id,
        name=spelled(item.namespace, item.name),
        arguments=arguments,
        kind="function" if isinstance(item, wire.FunctionCallItem) else "custom",
    )
    if item.namespace is not None:
        call["namespace"] = item.namespace
    return call


def _reasoning(item: wire.ReasoningItem) -> Item:
    text = "".join(each.text for each in item.content or ())
    summary = [each.text for each in item.summary or ()]
    if text or summary or item.encrypted_content is None:
        reasoning = Reasoning(type="reasoning", text=text)
        return {**reasoning, "summary": summary} if summary else reasoning
    return Opaque(type="opaque", origin=ORIGIN, value=item.model_dump())


def _parts(content: str | Sequence[wire.AnyPart]) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(type="text", text=content)]
    return [_part(part) for part in content]


def _part(part: wire.AnyPart) -> Part:
    match part:
        case wire.InputText() | wire.OutputText():
            return TextPart(type="text", text=part.text)
        case wire.InputImage():
            image = ImagePart(type="image", url=part.image_url or "")
            if part.detail is not None:
                image["detail"] = part.detail
            return image
        case wire.AudioInput():
            source = part.input_audio
            return AudioPart(type="audio", data=source.data, format=source.format)
        case wire.Refusal():
            return RefusalPart(type="refusal", text=part.refusal)
        case wire.InputFile():
            names = {"file_id": part.file_id, "filename": part.filename, "data": part.file_data}
            given = {name: value for name, value in names.items() if value is not None}
            return cast(FilePart, {"type": "file", **given})


def _options(request: ResponsesRequest, *, has_tools: bool) -> Options:
    said = sorted(request.model_fields_set & _SAME_NAME)
    options: dict[str, Any] = {name: getattr(request, name) for name in said}
    if request.reasoning is not None:
        options["reasoning_effort"] = request.reasoning.effort
        options["reasoning_summary"] = request.reasoning.wanted_summary
    if request.text is not None:
        options["verbosity"] = request.text.verbosity
    if request.wants_logprobs:
        options |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if has_tools:  # some upstreams refuse it without
        options["parallel_tool_calls"] = request.parallel_tool_calls
    return cast(Options, {name: value for name, value in options.items() if value is not None})


def _tool(name: str, tool: FlatFunctionTool | FlatCustomTool) -> Tool:
    neutral = Tool(type=tool.type, name=name)
    spec = tool.parameters if isinstance(tool, FlatFunctionTool) else _form(tool)
    if tool.description is not None:
        neutral["description"] = tool.description
    if spec is not None:
        neutral["spec"] = spec
    if isinstance(tool, FlatFunctionTool) and tool.strict is not None:
        neutral["strict"] = tool.strict
    return neutral


def _form(tool: FlatCustomTool) -> dict[str, Any] | None:
    if isinstance(tool.format, FlatGrammarFormat):
        return {"type": "grammar", "grammar": tool.format.model_dump(exclude={"type"})}
    return None if tool.format is None else tool.format.model_dump()


def _choice(request: ResponsesRequest) -> ToolChoice | None:
    match request.tool_choice:
        case None:
            return None
        case AllowedToolsChoice(mode=mode, tools=allowed):
            return ToolChoice(
                mode="allowed" if mode == "auto" else "allowed_required",
                tools=[_named(tool) for tool in allowed],
            )
        case FunctionToolChoice() | CustomToolChoice() as tool:
            return ToolChoice(mode="named", tools=[_named(tool)])
        case mode:
            return ToolChoice(mode=mode)


def _named(choice: FunctionToolChoice | CustomToolChoice) -> Tool:
    return Tool(type=choice.type, name=spelled(choice.namespace, choice.name))


def _format(request: ResponsesRequest) -> Format | None:
    wanted = None if request.text is None else request.text.format
    if wanted is None:
        return None
    neutral = Format(type=wanted.type)
    if isinstance(wanted, FlatJsonSchemaFormat):
        neutral["name"] = wanted.name
        neutral["schema"] = wanted.schema_
        if wanted.description is not None:
            neutral["description"] = wanted.description
        if wanted.strict is not None:
            neutral["strict"] = wanted.strict
    return neutral
