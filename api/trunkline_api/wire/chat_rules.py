"""What a chat request may not say although each member is well formed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trunkline_api.errors import ApiError, invalid
from trunkline_api.wire.messages import (
    AssistantMessage,
    FilePart,
    FunctionMessage,
    Message,
    UserMessage,
)
from trunkline_api.wire.tools import (
    AllowedChoice,
    CustomChoice,
    FunctionChoice,
    FunctionTool,
    Tool,
)

if TYPE_CHECKING:
    from trunkline_api.wire.chat import ChatRequest

_REFUSED = (
    ("audio", "Answers are text; leave it out."),
    ("functions", "Use 'tools' with type \"function\" instead."),
    ("function_call", "Use 'tool_choice' instead."),
    ("web_search_options", "Give the agent a search tool and leave this out."),
    ("moderation", "This server does not moderate; leave it out."),
)


def check_chat(request: ChatRequest) -> None:
    """Raises ApiError 400 for the first rule that the request breaks."""
    _check_supported(request)
    _check_numbers(request)
    _check_tools(request)
    _check_messages(request.messages)


def _unsupported(param: str, message: str) -> ApiError:
    return invalid(param, f"Unsupported parameter: '{param}'. {message}", "unsupported_parameter")


def _check_supported(request: ChatRequest) -> None:
    for param, message in _REFUSED:
        if getattr(request, param) is not None:
            raise _unsupported(param, message)
    if request.n is not None and request.n > 1:
        raise _unsupported("n", "An agent gives one choice: leave 'n' out or send 1.")
    if request.modalities is not None and "audio" in request.modalities:
        raise _unsupported("modalities", 'Answers are text: send ["text"] or leave it out.')
    if request.store:
        raise _unsupported("store", "Chat completions are not stored here: send false.")


def _check_numbers(request: ChatRequest) -> None:
    limits = {request.max_tokens, request.max_completion_tokens} - {None}
    if len(limits) > 1:
        raise invalid(
            "max_tokens",
            "'max_tokens' and 'max_completion_tokens' differ: send only 'max_completion_tokens'.",
        )
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("top_logprobs", "'top_logprobs' needs 'logprobs': true.")
    if request.stream_options is not None and not request.stream:
        raise invalid("stream_options", "'stream_options' needs 'stream': true.")


def _name(tool: Tool | FunctionChoice | CustomChoice) -> str:
    if isinstance(tool, FunctionTool | FunctionChoice):
        return tool.function.name
    return tool.custom.name


def _check_tools(request: ChatRequest) -> None:
    known: set[tuple[str, str]] = set()
    for index, tool in enumerate(request.tools or ()):
        if _name(tool) in {name for _, name in known}:
            param = f"tools[{index}].{tool.type}.name"
            raise invalid(param, f"Two tools have the name '{_name(tool)}': give each its own.")
        known.add((tool.type, _name(tool)))
    if request.tool_choice is None:
        return
    if not known:
        raise invalid("tool_choice", "'tool_choice' needs 'tools': add them or leave it out.")
    for param, choice in _choices(request):
        if (choice.type, _name(choice)) not in known:
            raise invalid(
                param,
                f"'{param}' names the {choice.type} tool '{_name(choice)}', "
                "which is not in 'tools'.",
            )


def _choices(request: ChatRequest) -> Iterator[tuple[str, FunctionChoice | CustomChoice]]:
    choice = request.tool_choice
    if isinstance(choice, AllowedChoice):
        for index, tool in enumerate(choice.allowed_tools.tools):
            yield f"tool_choice.allowed_tools.tools[{index}]", tool
    elif isinstance(choice, FunctionChoice | CustomChoice):
        yield "tool_choice", choice


def _check_messages(messages: list[Message]) -> None:
    called: set[str] = set()
    for index, message in enumerate(messages):
        param = f"messages[{index}]"
        if isinstance(message, AssistantMessage):
            _check_assistant(param, message)
            if message.function_call is not None:
                called.add(message.function_call.name)
        elif isinstance(message, UserMessage):
            _check_files(param, message)
        elif isinstance(message, FunctionMessage) and message.name not in called:
            raise invalid(
                f"{param}.name", f"'{param}.name' answers no 'function_call' of a message before."
            )


def _check_assistant(param: str, message: AssistantMessage) -> None:
    if message.audio is not None:
        raise _unsupported(f"{param}.audio", "Audio answers are not kept here; send their text.")
    for index, call in enumerate(message.tool_calls or ()):
        given = {"function": call.function, "custom": call.custom}[call.type]
        if given is None:
            missing = f"{param}.tool_calls[{index}].{call.type}"
            raise invalid(
                missing, f"Missing required parameter: '{missing}'.", "missing_required_parameter"
            )
    stands_in = (
        message.tool_calls,
        message.function_call,
        message.refusal,
        message.reasoning_content,
    )
    if not message.content and message.content != "" and not any(stands_in):
        raise invalid(
            f"{param}.content",
            f"'{param}.content' may be null only beside 'tool_calls' or 'refusal'.",
        )


def _check_files(param: str, message: UserMessage) -> None:
    parts = () if isinstance(message.content, str) else message.content
    for index, part in enumerate(parts):
        if isinstance(part, FilePart) and not (part.file.file_data or part.file.file_id):
            where = f"{param}.content[{index}].file"
            raise invalid(where, f"'{where}' needs 'file_data' or 'file_id'.")
