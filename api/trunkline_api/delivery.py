"""What one webhook is to hear of, from a stream of its own; what belongs together in order."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from trunkline_api.lease import LOOK_S, Lease
from trunkline_api.webhook_client import Parcel, Problem, WebhookClient
from trunkline_shared.pipe import Pipe

logger = logging.getLogger("trunkline.webhooks")

WINDOW: Final = 10_000  # entries in hand; those that are refused again and again stay there
AT_A_LOOK: Final = 1000  # entries in one reply of Redis
AT_ONCE: Final = 16  # requests, and what they tell in memory
LAST_DELAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One ended run, with its conversation if it was a turn. `id` begins with the Unix ms of the
    end."""

    id: bytes
    conversation: str
    run: str

    @property
    def ended_ms(self) -> int:
        return int(self.id.partition(b"-")[0])

    @property
    def age_s(self) -> float:
        return time.time() - self.ended_ms / 1000


class Receiver(Protocol):
    """What is special of one webhook. `name` is for logs, `retry_delay_s` what the second attempt
    waits; each later one waits twice as long, a minute at most.
    """

    name: str
    retry_delay_s: float

    def lane(self, entry: Entry) -> str:
        """Entries of one lane are told in their order."""

    def is_passing(self, status: int) -> bool:
        """Whether one that answers with this, which is not 2xx, may take it the next time."""

    async def parcels(self, entry: Entry) -> Sequence[Parcel]:
        """What is to be sent now, made anew for each attempt: what waits must not fill the memory.

        None for what it is not to hear of. Raises what Redis raises.
        """


class Delivery:
    """One webhook, and how far it is: what another one does holds nothing back here."""

    def __init__(
        self,
        receiver: Receiver,
        stream: str,
        pipe: Pipe,
        lease: Lease,
        patience_s: float,
    ) -> None:
        self.stream = stream
        self._receiver = receiver
        self._pipe = pipe
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
                name = self._receiver.lane(entry)
                lane = self._lanes.get(name)
                if lane is None:
                    lane = self._lanes[name] = deque()
                    tasks.create_task(self._empty(name, lane, client))
                lane.append(entry)
            await asyncio.sleep(LOOK_S)

    async def _entries(self, last: bytes, count: int) -> list[Entry]:
        if count <= 0:
            return []
        command = ("XRANGE", self.stream, b"(" + last, "+", "COUNT", min(count, AT_A_LOOK))
        return [_entry(id, fields) for id, fields in await self._pipe.send(*command)]

    async def _empty(self, name: str, lane: deque[Entry], client: WebhookClient) -> None:
        """Delivers one lane's entries, one after the other."""
        while lane:
            await self._tell(lane[0], client)
            await self._pipe.send("XDEL", self.stream, lane[0].id)
            lane.popleft()
        del self._lanes[name]

    async def _tell(self, entry: Entry, client: WebhookClient) -> None:
        """Returns when the webhook has the entry, or will never have it."""
        receiver = self._receiver
        taken, delay_s = 0, receiver.retry_delay_s
        while True:
            async with self._room:
                parcels = await receiver.parcels(entry)
                problem: Problem | None = None
                while problem is None and taken < len(parcels):
                    self._lease.check()
                    problem = await client.post(parcels[taken])
                    taken += problem is None
            if problem is None:
                return
            words = f"{receiver.name}: {problem.words}"
            status = problem.status
            if (status is None or receiver.is_passing(status)) and entry.age_s < self._patience_s:
                logger.warning("webhook %s; run %s again in %g s", words, entry.run, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(max(2 * delay_s, 0.1), LAST_DELAY_S)
            else:
                logger.error("webhook %s; dropped what run %s said", words, entry.run)
                taken, delay_s = taken + 1, receiver.retry_delay_s


def _entry(id: bytes, fields: list[Any]) -> Entry:
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(id, values.get(b"c", b"").decode(), values.get(b"r", b"").decode())
