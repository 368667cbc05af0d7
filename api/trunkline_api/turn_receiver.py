"""A webhook of OpenHands' kind: what it is told of a conversation's turns."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import orjson

from trunkline_api.conversation_events import events_of
from trunkline_api.conversation_info import info_of
from trunkline_api.conversations import Conversation, Conversations
from trunkline_api.delivery import Entry
from trunkline_api.webhook_client import Parcel
from trunkline_api.webhooks import Webhook
from trunkline_shared.vault import Unreadable

logger = logging.getLogger("trunkline.webhooks")

_PASSING: Final = frozenset({401, 403, 408, 429})  # a key can be put right


class TurnReceiver:
    """Hears of the turns of a conversation in their order."""

    def __init__(self, webhook: Webhook, conversations: Conversations) -> None:
        self.name = webhook.base_url
        self.retry_delay_s = webhook.retry_delay
        self._webhook = webhook
        self._conversations = conversations

    @staticmethod
    def lane(entry: Entry) -> str:
        return entry.conversation

    @staticmethod
    def is_passing(status: int) -> bool:
        return status in _PASSING or status >= 500

    async def parcels(self, entry: Entry) -> Sequence[Parcel]:
        try:
            conversation = await self._conversations.read(entry.conversation)
            if conversation is None:
                return ()
            batch = self._webhook.event_buffer_size
            told = await asyncio.to_thread(told_of, conversation, entry.run, batch)
        except (Unreadable, ValueError, LookupError, TypeError) as error:
            # What another version wrote, or another key sealed, must not stop all others.
            why = error if isinstance(error, Unreadable) else type(error).__name__
            logger.error("conversation %s is not delivered: %s", entry.conversation, why)
            return ()
        headers = self._webhook.headers
        return [Parcel(self._webhook.base_url + path, headers, body) for path, body in told]


def told_of(conversation: Conversation, run: str, batch: int) -> list[tuple[str, bytes]]:
    """What a webhook is told of a turn, `batch` events at a time, then of the conversation: paths
    and bodies."""
    by_turn = zip(conversation.turns, events_of(conversation.turns), strict=True)
    events = next((events for turn, events in by_turn if turn.run_id == run), [])
    path = f"/events/{UUID(conversation.head.id).hex}"
    starts = range(0, len(events), batch)
    told = [(path, orjson.dumps(events[at : at + batch])) for at in starts]
    info = info_of(conversation).model_dump(mode="json")
    return [*told, ("/conversations", orjson.dumps(info))]
