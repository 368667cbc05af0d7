"""What a chat request may not say although each member is well formed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from trunkline_api.errors import ApiError, invalid
from trunkline_api.wire.messages import (
    AssistantMessage,
    Message,
    ToolMessage,
    UserMessage,
)
from trunkline_api.wire.tools import (
    AllowedChoice,
    CustomChoice,
    FunctionChoice,
    JsonSchemaFormat,
    Tool,
    check_strict,
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


# No rule is about these, but those of the messages.
_FREE: Final = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "max_completion_tokens",
        "messages",
        "metadata",
        "model",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "temperature",
        "top_p",
        "user",
        "verbosity",
    }
)


def check_chat(request: ChatRequest) -> None:
    """Raises ApiError 400 for the first rule that the request breaks."""
    if not request.model_fields_set <= _FREE:  # to read a member of a model costs 350 instructions
        _check_supported(request)
        _check_numbers(request)
        _check_tools(request)
        if isinstance(request.response_format, JsonSchemaFormat):
            wanted = request.response_format.json_schema
            check_strict("response_format.json_schema.schema", wanted.schema_, wanted.strict)
    _check_messages(request.messages)


def check_results(messages: list[Message], *, in_conversation: bool) -> None:
    """Raises ApiError 400 unless each call of a tool is answered at once, and nothing else is.

    In a conversation results may answer calls that only its history has.
    """
    asked: set[str] = set()
    unanswered: dict[str, int] = {}  # the numbers of messages by the ids of calls
    for index, message in enumerate(messages):
        if message.role == "tool":
            call_id = message.tool_call_id
            if call_id not in asked and not in_conversation:
                param = f"messages[{index}].tool_call_id"
                raise invalid(param, f"'{param}' answers no call of a message before: {call_id}.")
            unanswered.pop(call_id, None)
            continue
        _check_answered(unanswered)
        if message.role == "assistant":
            unanswered = {call.id: index for call in message.tool_calls or ()}
            asked |= unanswered.keys()
    _check_answered(unanswered)


def _check_answered(unanswered: dict[str, int]) -> None:
    if not unanswered:
        return
    ids = ", ".join([*unanswered][:5])
    where = f"messages[{min(unanswered.values())}]"
    raise invalid(
        where,
        f"The 'tool_calls' of '{where}' must be followed by a tool message for each; "
        f"none answers {ids}.",
    )


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
    return tool.function.name if tool.type == "function" else tool.custom.name


def _check_tools(request: ChatRequest) -> None:
    known: dict[str, str] = {}  # the types of tools by their names
    for index, tool in enumerate(request.tools or ()):
        name = _name(tool)
        if name in known:
            param = f"tools[{index}].{tool.type}.name"
            raise invalid(param, f"Two tools have the name '{name}': give each its own.")
        known[name] = tool.type
    if request.tool_choice is None:
        return
    if not known:
        raise invalid("tool_choice", "'tool_choice' needs 'tools': add them or leave it out.")
    for param, choice in _choices(request):
        if known.get(_name(choice)) != choice.type:
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
        if message.role in ("user", "tool"):
            _check_files(index, message)
        elif message.role == "assistant":
            _check_assistant(index, message)
            if message.function_call is not None:
                called.add(message.function_call.name)
        elif message.role == "function" and message.name not in called:
            name = f"messages[{index}].name"
            raise invalid(name, f"'{name}' answers no 'function_call' of a message before.")


def _check_assistant(number: int, message: AssistantMessage) -> None:
    if message.audio is not None:
        raise _unsupported(
            f"messages[{number}].audio", "Audio answers are not kept here; send their text."
        )
    for index, call in enumerate(message.tool_calls or ()):
        if (call.function if call.type == "function" else call.custom) is None:
            missing = f"messages[{number}].tool_calls[{index}].{call.type}"
            raise invalid(
                missing, f"Missing required parameter: '{missing}'.", "missing_required_parameter"
            )
    stands_in = message.tool_calls or message.function_call or message.refusal
    if not (message.content or message.content == "" or stands_in or message.reasoning_content):
        where = f"messages[{number}].content"
        raise invalid(where, f"'{where}' may be null only beside 'tool_calls' or 'refusal'.")


def _check_files(number: int, message: UserMessage | ToolMessage) -> None:
    if isinstance(message.content, str):
        return
    for index, part in enumerate(message.content):
        if part.type != "file":
            continue
        where = f"messages[{number}].content[{index}].file"
        if part.file.file_id is not None:
            words = "Files are not kept here: send 'file_data' instead."
            raise _unsupported(f"{where}.file_id", words)
        if not part.file.file_data:
            raise invalid(f"{where}.file_data", f"'{where}' needs 'file_data'.")
