"""Ended turns on their way to webhooks: each at least once, in order per conversation.

The scripts write each ended turn into a stream. One API process at a time holds the lease and
delivers what is there; an entry leaves the stream when all webhooks have it, so that a process
that dies loses nothing: the next one begins with it again.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from redis.exceptions import RedisError

from trunkline_api.conversation_events import events_of
from trunkline_api.conversation_info import info_of
from trunkline_api.conversations import Conversation, Conversations
from trunkline_api.settings import ApiSettings
from trunkline_api.webhook_client import WebhookClient
from trunkline_api.webhooks import Webhook
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_shared.vault import Unreadable

logger = logging.getLogger("trunkline.webhooks")

LEASE_S: Final = 5.0
LOOK_S: Final = 0.5  # nothing may block on the pipe, which all share
WINDOW: Final = 1000  # entries in hand
AT_ONCE: Final = 16  # requests, and conversations in memory
LAST_DELAY_S: Final = 60.0


class LeaseLost(Exception):
    """Another process may deliver by now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One ended turn. `id` begins with the Unix ms of its end."""

    id: bytes
    conversation: str
    run: str

    @property
    def age_s(self) -> float:
        return time.time() - int(self.id.partition(b"-")[0]) / 1000


class Lease:
    """The right to deliver, of one process at a time. Gone by itself `LEASE_S` after its end."""

    def __init__(self, pipe: Pipe, key: str) -> None:
        self._pipe = pipe
        self._key = key
        self._token = secrets.token_hex(16)
        self._until = 0.0

    def check(self) -> None:
        """Raises LeaseLost, also while it is unknown whether it still holds."""
        if time.monotonic() >= self._until:
            raise LeaseLost

    async def renew(self) -> bool:
        """Takes or prolongs it; False when it is another's."""
        asked_at, ms = time.monotonic(), int(LEASE_S * 1000)
        if asked_at < self._until:
            owner, _ = await asyncio.gather(
                self._pipe.send("GET", self._key), self._pipe.send("PEXPIRE", self._key, ms)
            )
            # An answer within its time: it was ours when Redis prolonged it.
            is_ours = owner == self._token.encode() and time.monotonic() < self._until
        else:
            answer = await self._pipe.send("SET", self._key, self._token, "NX", "PX", ms)
            is_ours = answer is not None
        self._until = asked_at + LEASE_S if is_ours else 0.0
        return is_ours


class Outbox:
    """Delivers while it lives, in whichever process holds the lease."""

    def __init__(
        self, settings: ApiSettings, keys: Keys, pipe: Pipe, conversations: Conversations
    ) -> None:
        self._webhooks = settings.webhooks
        self._timeout_s = settings.webhook_timeout_s
        self._patience_s = settings.webhook_patience_s
        self._stream = keys.outbox
        self._pipe = pipe
        self._conversations = conversations
        self._lease = Lease(pipe, keys.outbox_lease)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._lanes: dict[str, deque[Entry]] = {}
        self._owner: asyncio.Task[None] | None = None
        self._client: WebhookClient | None = None
        self._closed = False

    async def start(self) -> None:
        self._client = WebhookClient(self._timeout_s)
        self._owner = start_owned(self._run(self._client), "outbox")

    async def aclose(self) -> None:
        """What is under way is cut off, and delivered again by whoever is next."""
        self._closed = True
        await end_owned(self._owner)
        if self._client is not None:
            await self._client.aclose()

    async def _run(self, client: WebhookClient) -> None:
        while not self._closed:  # a cancellation gets lost where a task group fails just then
            try:
                if await self._lease.renew():
                    async with asyncio.TaskGroup() as tasks:
                        await self._deliver(tasks, client)
            except* (LeaseLost, RedisUnavailable, RedisError) as errors:
                logger.warning("webhooks wait: %r", errors.exceptions[0])
            await asyncio.sleep(LOOK_S)

    async def _deliver(self, tasks: asyncio.TaskGroup, client: WebhookClient) -> None:
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
            if not await self._lease.renew():
                raise LeaseLost

    async def _entries(self, last: bytes, count: int) -> list[Entry]:
        if count <= 0:
            return []
        command = ("XRANGE", self._stream, b"(" + last, "+", "COUNT", count)
        return [_entry(id, fields) for id, fields in await self._pipe.send(*command)]

    async def _empty(self, conversation: str, lane: deque[Entry], client: WebhookClient) -> None:
        """Delivers one conversation's entries, one after the other."""
        while lane:
            async with asyncio.TaskGroup() as tasks:
                for webhook in self._webhooks:
                    tasks.create_task(self._tell(webhook, lane[0], client))
            await self._pipe.send("XDEL", self._stream, lane[0].id)
            lane.popleft()
        del self._lanes[conversation]

    async def _tell(self, webhook: Webhook, entry: Entry, client: WebhookClient) -> None:
        """Returns when the webhook has the entry, or will never have it."""
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
