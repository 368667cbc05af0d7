"""What a request builds on that is no turn itself: the responses, or the conversation, before."""

from trunkline_api.conversations import Conversations
from trunkline_api.errors import ApiError, from_failure
from trunkline_api.stored_responses import StoredResponses
from trunkline_shared.conversation import history
from trunkline_shared.events import Failed
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Unreadable


class Prior:
    """Reads it at the edge, and changes nothing."""

    def __init__(self, stored: StoredResponses, conversations: Conversations) -> None:
        self._stored = stored
        self._conversations = conversations

    async def items(self, previous: str | None, conversation: str, principal: str) -> list[Item]:
        """All that was said up to the response `previous`, or in the conversation if one is named.

        Raises ApiError for what does not exist or is somebody else's, and RedisUnavailable.
        """
        if not conversation:
            return [] if previous is None else await self._stored.history(previous, principal)
        try:
            found = await self._conversations.find(conversation, principal)
        except (Unreadable, ValueError) as error:
            message = f"The conversation cannot be read: {error}."
            raise ApiError(409, message, code="conversation_unreadable") from None
        if found is None:
            words = "There is no such conversation."
            raise from_failure(Failed("conversation_not_found", words, "conversation"))
        return history(found.turns)
