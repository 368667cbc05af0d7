"""The turns that one webhook is to hear of, from a stream of its own, in order per conversation."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from trunkline_api.conversation_events import events_of
from trunkline_api.conversation_info import info_of
from trunkline_api.conversations import Conversation, Conversations
from trunkline_api.lease import LOOK_S, Lease
from trunkline_api.webhook_client import WebhookClient
from trunkline_api.webhooks import Webhook
from trunkline_shared.pipe import Pipe
from trunkline_shared.vault import Unreadable

logger = logging.getLogger("trunkline.webhooks")

WINDOW: Final = 10_000  # entries in hand; those that are refused again and again stay there
AT_A_LOOK: Final = 1000  # entries in one reply of Redis
AT_ONCE: Final = 16  # requests, and conversations in memory
LAST_DELAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One ended turn. `id` begins with the Unix ms of its end."""

    id: bytes
    conversation: str
    run: str

    @property
    def age_s(self) -> float:
        return time.time() - int(self.id.partition(b"-")[0]) / 1000


class Delivery:
    """One webhook, and how far it is: what another one does holds nothing back here."""

    def __init__(
        self,
        webhook: Webhook,
        stream: str,
        pipe: Pipe,
        conversations: Conversations,
        lease: Lease,
        patience_s: float,
    ) -> None:
        self.stream = stream
        self._webhook = webhook
        self._pipe = pipe
        self._conversations = conversations
        self._lease = lease
        self._patience_s = patience_s
        self._room = asyncio.Semaphore(AT_ONCE)
        self._lanes: dict[str, deque[Entry]] = {}

    async def run(self, tasks: asyncio.TaskGroup, client: WebhookClient) -> None:
        """Delivers until it is cancelled. Raises LeaseLost, and what Redis raises."""
        self._lanes = {}
        last = b"0-0"
        while True:
            room = WINDOW - sum(map(len, self._lanes.values()))
            for entry in await self._entries(last, room):
                last = entry.id
                lane = self._lanes.get(entry.conversation)
                if lane is None:
                    lane = self._lanes[entry.conversation] = deque()
                    tasks.create_task(self._empty(entry.conversation, lane, client))
                lane.append(entry)
            await asyncio.sleep(LOOK_S)

    async def _entries(self, last: bytes, count: int) -> list[Entry]:
        if count <= 0:
            return []
        command = ("XRANGE", self.stream, b"(" + last, "+", "COUNT", min(count, AT_A_LOOK))
        return [_entry(id, fields) for id, fields in await self._pipe.send(*command)]

    async def _empty(self, conversation: str, lane: deque[Entry], client: WebhookClient) -> None:
        """Delivers one conversation's entries, one after the other."""
        while lane:
            await self._tell(lane[0], client)
            await self._pipe.send("XDEL", self.stream, lane[0].id)
            lane.popleft()
        del self._lanes[conversation]

    async def _tell(self, entry: Entry, client: WebhookClient) -> None:
        """Returns when the webhook has the entry, or will never have it."""
        webhook = self._webhook
        taken, delay_s = 0, webhook.retry_delay
        while True:
            async with self._room:
                parcels = await self._parcels(entry, webhook.event_buffer_size)
                problem = None
                while problem is None and taken < len(parcels):
                    self._lease.check()
                    problem = await client.post(webhook, *parcels[taken])
                    taken += problem is None
            if problem is None:
                return
            words = f"{webhook.base_url}: {problem.words}"
            if problem.passing and entry.age_s < self._patience_s:
                logger.warning("webhook %s; run %s again in %g s", words, entry.run, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(max(2 * delay_s, 0.1), LAST_DELAY_S)
            else:
                logger.error("webhook %s; dropped what run %s said", words, entry.run)
                taken, delay_s = taken + 1, webhook.retry_delay

    async def _parcels(self, entry: Entry, batch: int) -> Sequence[tuple[str, bytes]]:
        """Paths and bodies, made anew for each attempt: what waits must not fill the memory."""
        try:
            conversation = await self._conversations.read(entry.conversation)
            if conversation is None:
                return ()
            return await asyncio.to_thread(parcels_of, conversation, entry.run, batch)
        except (Unreadable, ValueError, LookupError, TypeError) as error:
            # What another version wrote, or another key sealed, must not stop all others.
            why = error if isinstance(error, Unreadable) else type(error).__name__
            logger.error("conversation %s is not delivered: %s", entry.conversation, why)
            return ()


def parcels_of(conversation: Conversation, run: str, batch: int) -> list[tuple[str, bytes]]:
    """What a webhook is told of a turn, `batch` events at a time, then of the conversation."""
    by_turn = zip(conversation.turns, events_of(conversation.turns), strict=True)
    events = next((events for turn, events in by_turn if turn.run_id == run), [])
    path = f"/events/{UUID(conversation.head.id).hex}"
    starts = range(0, len(events), batch)
    parcels = [(path, orjson.dumps(events[at : at + batch])) for at in starts]
    info = info_of(conversation).model_dump(mode="json")
    return [*parcels, ("/conversations", orjson.dumps(info))]


def _entry(id: bytes, fields: list[Any]) -> Entry:
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(id, values.get(b"c", b"").decode(), values.get(b"r", b"").decode())
