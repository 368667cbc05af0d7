"""Which conversation a request belongs to: the header that names it, read and written."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID, uuid4

from pydantic import AfterValidator, BeforeValidator

from trunkline_api.errors import invalid, no_conversation
from trunkline_api.headers import Headers

PREFIX: Final = "conv_"
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
    if HEADERS.keys().isdisjoint(headers):
        return ""
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
    return _canonical("conversation", text)


def must_exist(headers: Headers, named: str) -> bool:
    """Whether the headers, or what the body `named`, spell an id as `/v1/conversations` does.

    Who makes ids up for conversations to begin has UUIDs.
    """
    return named.startswith(PREFIX) or any(
        PREFIX in headers.get(name, b"").decode("latin-1") for name in HEADERS
    )


def check_named(named: str, headers: Headers) -> None:
    """Raises ApiError 400 where the headers name another conversation than `conversation` does."""
    sent = named_conversation(headers)
    if named and sent and conversation_of(named) != sent:
        message = "'conversation' and the conversation's header differ: send one."
        raise invalid("conversation", message)


def new_conversation() -> str:
    return str(uuid4())


def shown(conversation: str) -> str:
    """The id as `/v1/conversations` tells it."""
    return PREFIX + UUID(conversation).hex


def _bare(text: Any) -> Any:
    return text.removeprefix(PREFIX) if isinstance(text, str) else text


AnyId: TypeAlias = Annotated[UUID, BeforeValidator(_bare)]
"""An id in a path, however it is spelled."""


def _stored(text: str) -> str:
    try:
        return str(UUID(_bare(text)))
    except ValueError:
        raise no_conversation("conversation_id") from None


KnownId: TypeAlias = Annotated[str, AfterValidator(_stored)]
"""An id in a path of `/v1`, as a canonical UUID; ApiError 404 for what can be none."""


def _canonical(header: str, text: str) -> str:
    try:
        return str(UUID(_bare(text)))
    except ValueError:
        if text.startswith(PREFIX):
            raise no_conversation(header) from None
        message = f"'{header}' is no UUID: send back the id of a reply, or leave it out."
        raise invalid(header, message) from None
