"""The neutral transcript as messages of pydantic-ai, and back. Pure; nothing is ever fetched.

What a transcript says goes along beside what models are shown of it, so that the way back gives
the very same items. A run starts from `to_messages`, which never ends with an answer: the agent
would take that for its own and ask nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final, TypeGuard, cast

import orjson
from pydantic_ai.messages import (
    INVALID_JSON_KEY,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    RetryFeedbackPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from trunkline_shared import transcript
from trunkline_shared.transcript import (
    Item,
    Message,
    Part,
    Reasoning,
    Role,
    ToolCall,
    ToolResult,
    text_of,
    thought,
)
from trunkline_worker.agent_lane.contents import contents, parts_of

CUSTOM_INPUT: Final = "input"
"""Models know functions alone: a custom tool is one that takes its free text under this name."""

_ITEM: Final = "trunkline"  # where a part keeps the item that it was made of, or one of these:
_CUSTOM: Final = "custom"
_REFUSAL: Final = "refusal"


@dataclass(repr=False)
class Said(UserPromptPart):
    """What a user said, and the message that it was made of. None: nothing, but answer."""

    _: KW_ONLY
    item: Message | None = None


def to_messages(items: Iterable[Item], system_prompt: Sequence[str] = ()) -> list[ModelMessage]:
    """The agent's system prompts, then the whole transcript; a last message to be answered."""
    messages: list[ModelMessage] = []
    names: dict[str, str] = {}
    for prompt in system_prompt:
        _request(messages, SystemPromptPart(prompt))
    for item in items:
        if item["type"] == "tool_call":
            names[item["id"]] = item["name"]
        if item["type"] == "tool_result":
            _request(messages, _result(item, names.get(item["id"], "tool")))
        elif item["type"] == "message" and item["role"] != "assistant":
            _request(messages, _prompt(item))
        else:
            _respond(messages, _said(item))
    if not messages or isinstance(messages[-1], ModelResponse):
        messages.append(ModelRequest(parts=[Said("")]))
    return messages


def to_items(messages: Iterable[ModelMessage]) -> list[Item]:
    """The transcript of a run so far: of what `to_messages` made, what models said, what tools gave
    back and what the agent asked for."""
    items: list[Item] = []
    for message in messages:
        if isinstance(message, ModelResponse):
            items += _response_items(message.parts)
        else:
            found = map(_request_item, message.parts)
            items += [item for item in found if item is not None]
    return items


def sendable(arguments: str) -> str:
    """Of a call: as they are, or wrapped where they are no JSON object, which many providers refuse
    in what they are told, though their models wrote it."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict):
        return arguments
    return orjson.dumps({INVALID_JSON_KEY: arguments}).decode() if arguments else "{}"


def custom_call(call: ToolCallPart) -> ToolCallPart:
    """The call of a custom tool, whose text `to_items` says without its wrapping."""
    return replace(call, provider_details={**(call.provider_details or {}), _ITEM: _CUSTOM})


def refused(text: str) -> TextPart:
    """What a model said to refuse."""
    return TextPart(text, provider_details={_ITEM: _REFUSAL})


def custom_input(arguments: str) -> str:
    """The free text in the arguments of a custom tool; models err, then all of them."""
    try:
        text = orjson.loads(arguments)[CUSTOM_INPUT]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return arguments
    return text if isinstance(text, str) else arguments


def item_of(part: ModelResponsePart) -> Item | None:
    """The item of the transcript that the part was made of, if it was."""
    kept = _kept(part)
    return cast(Item, kept) if isinstance(kept, dict) else None


def _kept(part: ModelResponsePart) -> Any:
    return (getattr(part, "provider_details", None) or {}).get(_ITEM)


def _request(messages: list[ModelMessage], part: ModelRequestPart) -> None:
    if messages and isinstance(messages[-1], ModelRequest):
        messages[-1] = ModelRequest(parts=[*messages[-1].parts, part])
    else:
        messages.append(ModelRequest(parts=[part]))


def _respond(messages: list[ModelMessage], part: ModelResponsePart) -> None:
    if messages and isinstance(messages[-1], ModelResponse):
        messages[-1] = ModelResponse(parts=[*messages[-1].parts, part])
    else:
        messages.append(ModelResponse(parts=[part]))


def _prompt(item: Message) -> ModelRequestPart:
    if item["role"] == "user":
        return Said(contents(item["content"]), item=item)
    return SystemPromptPart(text_of(item["content"]), metadata={_ITEM: item})


def _said(item: Item) -> ModelResponsePart:
    kept = {_ITEM: item}
    match item["type"]:
        case "message":
            return TextPart(_words(item["content"]), provider_details=kept)
        case "reasoning":
            return ThinkingPart(thought(item), provider_details=kept)
        case "tool_call":
            arguments = item["arguments"]
            if item["kind"] == "custom":
                arguments = orjson.dumps({CUSTOM_INPUT: arguments}).decode()
            return ToolCallPart(item["name"], arguments, item["id"], provider_details=kept)
    return ThinkingPart("", provider_details=kept)  # no part holds what only others understand


def _words(parts: Iterable[Part]) -> str:
    said = (part["text"] for part in parts if part["type"] in ("text", "refusal"))
    return "".join(said)


def _result(item: ToolResult, name: str) -> ToolReturnPart[Any]:
    content = contents(item["content"])
    return ToolReturnPart(name, content, item["id"], metadata={_ITEM: item})


def _response_items(parts: Iterable[ModelResponsePart]) -> list[Item]:
    items: list[Item] = []
    text: transcript.TextPart | None = None
    for part in parts:
        # Some providers cut their text at every citation; it is one message all the same.
        if text is not None and _is_plain(part):
            text["text"] += part.content
            continue
        item = item_of(part) or _response_item(part)
        if item is not None:
            items.append(item)
            text = None
        if _is_plain(part):
            text = {"type": "text", "text": part.content}
            items.append(_message("assistant", [text]))
    return items


def _is_plain(part: ModelResponsePart) -> TypeGuard[TextPart]:
    return isinstance(part, TextPart) and _kept(part) is None


def _response_item(part: ModelResponsePart) -> Item | None:
    match part:
        case TextPart(content) if _kept(part) == _REFUSAL:
            return _message("assistant", [{"type": "refusal", "text": content}])
        case ThinkingPart(content) if content:
            return Reasoning(type="reasoning", text=content)
        case ToolCallPart(tool_name=name, tool_call_id=call_id):
            arguments = part.args if isinstance(part.args, str) else part.args_as_json_str()
            if _kept(part) == _CUSTOM:
                text = custom_input(arguments)
                return ToolCall(
                    type="tool_call", id=call_id, name=name, arguments=text, kind="custom"
                )
            return ToolCall(
                type="tool_call",
                id=call_id,
                name=name,
                arguments=sendable(arguments),
                kind="function",
            )
    return None  # what a provider keeps for itself


def _request_item(part: ModelRequestPart) -> Item | None:
    match part:
        case Said(item=item):
            return item
        case SystemPromptPart(content):
            item = (part.metadata or {}).get(_ITEM)
            return item or _message("system", [{"type": "text", "text": content}])
        case UserPromptPart(content):
            return _message("user", parts_of(content))
        case ToolReturnPart(tool_call_id=call_id):
            if isinstance(part.metadata, dict) and (item := part.metadata.get(_ITEM)):
                return cast(ToolResult, item)
            text: Part = {"type": "text", "text": part.model_response_str()}
            return ToolResult(type="tool_result", id=call_id, content=[text])
        case RetryFeedbackPart():
            return _message("user", [{"type": "text", "text": part.model_response()}])
    return None  # notes of pydantic-ai to itself


def _message(role: Role, content: list[Part]) -> Message:
    return Message(type="message", role=role, content=content)
