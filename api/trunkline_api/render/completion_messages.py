"""The messages of a stored completion: as they are kept, and as lists have them. Pure."""

from collections.abc import Sequence
from typing import Any

from trunkline_api.render.completion import completion_id
from trunkline_api.wire.messages import AssistantMessage, Message


def stored_message(message: Message) -> dict[str, Any]:
    """As it was sent, without what is no member of a message here."""
    left_out = None
    if isinstance(message, AssistantMessage) and not isinstance(message.reasoning_content, str):
        left_out = {"reasoning_content"}  # may be anything, and is ignored
    return message.model_dump(exclude_none=True, exclude=left_out)


def message_values(messages: Sequence[dict[str, Any]], run_id: str) -> list[dict[str, Any]]:
    """All of them, in order. `content` is text, or null beside the parts that it had."""
    values = []
    for number, message in enumerate(messages):
        content = message.get("content")
        is_text = isinstance(content, str)
        values.append(
            {
                "refusal": None,
                **message,
                "id": f"{completion_id(run_id)}-{number}",
                "content": content if is_text else None,
                "content_parts": None if is_text else content,
            }
        )
    return values
