"""What a Responses request may not say although each member is well formed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trunkline_api.errors import ApiError, invalid
from trunkline_api.wire.namespaces import offered, spelled
from trunkline_api.wire.response_items import (
    AdditionalTools,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCallItem,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputItem,
)
from trunkline_api.wire.response_tools import (
    AllowedToolsChoice,
    CustomToolChoice,
    FlatJsonSchemaFormat,
    FunctionToolChoice,
    Tool,
)
from trunkline_api.wire.tools import check_strict

if TYPE_CHECKING:
    from trunkline_api.wire.responses import ResponsesRequest

_MAX_NAME = 128
_MISSING = "missing_required_parameter"
_REFUSED = (
    ("access_programs", "Leave it out."),
    ("background_options", "Only 'background' itself is possible; leave it out."),
    ("image", "Leave it out."),
    ("moderation", "This server does not moderate; leave it out."),
    ("prompt", "Prompts are not stored here; send 'instructions' and 'input' instead."),
)


def check_responses(request: ResponsesRequest) -> None:
    """Raises ApiError 400 for the first rule that the request breaks."""
    check_members(request)
    answers = request.previous_response_id or request.conversation or request.is_warm_up
    if request.input == [] and not answers:
        is_sent = "input" in request.model_fields_set
        code = "invalid_value" if is_sent else _MISSING
        raise invalid("input", "There is no 'input' to answer: send at least one item.", code)


def check_members(request: ResponsesRequest) -> None:
    """The same, for one that may be without input."""
    _check_supported(request)
    _tools_by_name(request.tools)
    wanted = None if request.text is None else request.text.format
    if isinstance(wanted, FlatJsonSchemaFormat):
        check_strict("text.format.schema", wanted.schema_, wanted.strict)
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options", "'stream_options' needs 'stream': true.")
    if not isinstance(request.input, str):
        for index, item in enumerate(request.input):
            check_item(f"input[{index}]", item)
            if is_trigger(item) and index + 1 < len(request.input):
                param = f"input[{index}]"
                raise invalid(param, f"'{param}' is a compaction_trigger: move it to the end.")


def is_trigger(item: InputItem) -> bool:
    """Whether the item asks for a compaction in place of an answer."""
    return isinstance(item, dict) and item["type"] == "compaction_trigger"


def check_results(
    items: Sequence[InputItem], before: Mapping[str, bool], *, in_conversation: bool
) -> None:
    """Raises ApiError 400 unless each call of a tool is answered, and nothing else is.

    `before` has the calls before these items, and whether they have no result yet. In a
    conversation results may answer calls that only its history has.
    """
    unanswered = {**before}
    for index, item in enumerate(items):
        if isinstance(item, FunctionCallItem | CustomToolCall):
            unanswered[item.call_id] = True
        elif isinstance(item, FunctionCallOutput | CustomToolCallOutput):
            if item.call_id not in unanswered and not in_conversation:
                param = f"input[{index}].call_id"
                raise invalid(param, f"No tool call found for '{param}': {item.call_id}.")
            unanswered[item.call_id] = False
    for call_id, is_open in unanswered.items():
        if is_open:
            raise invalid("input", f"No tool output found for the call {call_id} in 'input'.")


def _unsupported(param: str, message: str) -> ApiError:
    return invalid(param, f"Unsupported parameter: '{param}'. {message}", "unsupported_parameter")


def _check_supported(request: ResponsesRequest) -> None:
    for param, message in _REFUSED:
        if getattr(request, param) is not None:
            raise _unsupported(param, message)
    if request.background and not request.is_stored:
        message = "What runs in the background is found by its id: leave 'store' out or send true."
        raise invalid("background", message)
    if request.conversation is not None and request.previous_response_id is not None:
        message = "A run is part of a conversation or follows a response, not both: "
        raise invalid("conversation", f"{message}leave out 'conversation' or the other.")


def _tools_by_name(tools: Sequence[Tool] | None, where: str = "tools") -> dict[str, str]:
    """The types of the tools that can be called."""
    known: dict[str, str] = {}
    for param, name, tool in offered(tools, where):
        if name in known:
            raise invalid(f"{param}.name", f"Two tools have the name '{name}': give each its own.")
        if len(name) > _MAX_NAME:
            message = f"With its namespace the tool is called '{name[:100]}…', which is too long: "
            raise invalid(f"{param}.name", f"{message}use {_MAX_NAME} characters at most.")
        known[name] = tool.type
    return known


def check_choice(request: ResponsesRequest) -> None:
    """Raises ApiError 400 unless the choice is among `tools`, which are all that there are."""
    known = _tools_by_name(request.tools)
    if request.tool_choice in (None, "none", "auto"):
        return
    if not known:
        raise invalid("tool_choice", "'tool_choice' needs 'tools': add them or leave it out.")
    for param, choice in _choices(request):
        name = spelled(choice.namespace, choice.name)
        if known.get(name) != choice.type:
            raise invalid(
                param, f"'{param}' names the {choice.type} tool '{name}', which is not in 'tools'."
            )


def _choices(
    request: ResponsesRequest,
) -> Iterator[tuple[str, FunctionToolChoice | CustomToolChoice]]:
    choice = request.tool_choice
    if isinstance(choice, AllowedToolsChoice):
        for index, tool in enumerate(choice.tools):
            yield f"tool_choice.tools[{index}]", tool
    elif isinstance(choice, FunctionToolChoice | CustomToolChoice):
        yield "tool_choice", choice


def check_item(where: str, item: InputItem) -> None:
    """Raises ApiError 400 for what the item `where` may not say although it is well formed."""
    if isinstance(item, AdditionalTools):
        _tools_by_name(item.tools, f"{where}.tools")
    members = item if isinstance(item, dict) else vars(item)
    for name in ("content", "output"):
        parts = members.get(name)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, InputImage | InputFile):
                _check_source(f"{where}.{name}[{index}]", part)


def _check_source(param: str, part: InputImage | InputFile) -> None:
    member = "image_url" if isinstance(part, InputImage) else "file_data"
    if part.file_id is not None:
        message = f"Files are not kept here: send '{member}' instead."
        raise _unsupported(f"{param}.file_id", message)
    if isinstance(part, InputImage):
        if not part.image_url:
            message = f"'{param}' needs 'image_url': a URL or the image itself as a data: URL."
            raise invalid(f"{param}.image_url", message)
    elif part.file_url:
        message = "Files are not fetched here: send 'file_data' instead."
        raise _unsupported(f"{param}.file_url", message)
    elif not part.file_data:
        raise invalid(f"{param}.file_data", f"'{param}' needs 'file_data'.")
