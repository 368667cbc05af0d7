"""Which conversation a request belongs to: the header that names it, read and written."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

from trunkline_api.errors import invalid
from trunkline_api.headers import Headers

HEADERS: Final[Mapping[bytes, str]] = MappingProxyType(
    {
        b"x-conversation-id": "X-Conversation-ID",
        b"x-openhands-serverconversation-id": "X-OpenHands-ServerConversation-ID",
    }
)
"""Either names a conversation in a request; every reply to one that is in one has both."""


def named_conversation(headers: Headers) -> str:
    """The id that the request names, as a canonical UUID; empty when it names none.

    Raises ApiError 400 for what is no UUID, and for two that differ.
    """
    ids = {
        _canonical(spelled, value.strip().decode("latin-1"))
        for name, spelled in HEADERS.items()
        if name in headers
        for value in headers[name].split(b",")
        if value.strip()
    }
    if len(ids) > 1:
        raise invalid("X-Conversation-ID", "The conversation headers differ: send one.")
    return next(iter(ids), "")


def conversation_of(text: str) -> str:
    """The id that the member `conversation` names, as a canonical UUID. Raises ApiError 400."""
    return _canonical("conversation", text.removeprefix("conv_"))


def check_named(named: str, headers: Headers) -> None:
    """Raises ApiError 400 where the headers name another conversation than `conversation` does."""
    sent = named_conversation(headers)
    if named and sent and named != sent:
        message = "'conversation' and the conversation's header differ: send one."
        raise invalid("conversation", message)


def new_conversation() -> str:
    return str(uuid4())


def _canonical(header: str, text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        message = f"'{header}' is no UUID: send back the id of a reply, or leave it out."
        raise invalid(header, message) from None
