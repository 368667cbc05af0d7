"""The relay: a run's events for one reader, each once, in order, none missing, or an error."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from redis.exceptions import RedisError

from trunkline_api.hub import UNREADABLE, Reader
from trunkline_shared.errors import RedisUnavailable, TrunklineError
from trunkline_shared.events import Failed, Finished, RunEvent, decode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe

PAGE = 100  # entries one read of the log fetches, of at most 64 KB each
AGAIN_S = 0.05  # from a read that failed at once to the next
AWAY_S = 30.0  # a log that cannot be read for so long ends the stream


class RunLost(TrunklineError):
    """The log does not hold what this reader was shown, or should be shown next."""


@dataclass(slots=True)  # not frozen, as the next: that costs 0.3 µs a frame each
class Cursor:
    """The last event passed on. Only ever moves forward."""

    epoch: int
    seq: int

    def place(self, epoch: int, first_seq: int) -> Literal["next", "known", "hole"]:
        """Where a frame of `epoch` beginning at `first_seq` stands.

        Raises RunLost when it tells a newer story of what was already passed on: Redis went back
        in time.
        """
        if first_seq > self.seq + 1:
            return "hole"
        if first_seq == self.seq + 1:
            return "next"
        if epoch > self.epoch:
            raise RunLost("the log was written anew behind the reader")
        return "known"


@dataclass(slots=True)
class Batch:
    first_seq: int
    events: Sequence[RunEvent]


class Relay:
    """Follows one run: pushed frames while they are without gaps, the log wherever they are not."""

    def __init__(self, reader: Reader, pipe: Pipe, keys: Keys) -> None:
        self._reader = reader
        self._pipe = pipe
        self._log = keys.log(reader.run_id)
        # Whoever submitted the run knows that it was created; nobody pushes that event.
        self._cursor = Cursor(0, 1)
        self._away_since: float | None = None
        self.ended = False  # the terminal event was passed on

    async def next(self, timeout_s: float) -> list[Batch] | None:
        """The next events; None when `timeout_s` passed without any.

        Raises ReaderClosed, RunLost, or RedisUnavailable when the log has to be read and Redis is
        away for longer than a blip.
        """
        if not await self._reader.wait(timeout_s):
            return None
        batches: list[Batch] = []
        for stream_id, frame in self._reader.take():
            if not self._pass_on(stream_id, frame, batches):
                self._reader.look_into_log()
                break
        if self._reader.behind and not self.ended:
            await self._catch_up(batches, timeout_s)
        return batches or None

    async def _catch_up(self, batches: list[Batch], timeout_s: float) -> None:
        """Reads the log, or leaves the reader behind: the next call tries again."""
        loop = asyncio.get_running_loop()
        self._reader.behind = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._pipe.connected()
                if await self._read_page(batches):
                    self._reader.look_into_log()
            self._away_since = None
        except (RedisUnavailable, TimeoutError):
            self._reader.behind = True
            self._away_since = self._away_since or loop.time()
            if loop.time() - self._away_since > AWAY_S:
                raise RedisUnavailable("the log could not be read") from None
            await asyncio.sleep(AGAIN_S)

    async def _read_page(self, batches: list[Batch]) -> bool:
        """Reads on from the cursor; whether there may be more. What was pushed meanwhile is known
        then, or read with the next page: a slow client never has more than one in memory.

        Each page begins with the entry at the cursor, which is what proves that the log is the one
        that was read before.
        """
        at = f"{self._cursor.epoch}-{self._cursor.seq}"
        try:
            entries = await self._pipe.send("XRANGE", self._log, at, "+", "COUNT", PAGE)
            if not entries and await self._pipe.send("EXISTS", self._log):
                return False  # Redis lost the log's tail; its writer sends it again
        except RedisError as error:
            raise RunLost(f"the log of the run cannot be read: {error}") from error
        if not entries or entries[0][0] != at.encode():
            raise RunLost("the log of the run is gone")
        for stream_id, fields in entries[1:]:
            if not self._pass_on(stream_id, fields[1], batches):
                raise RunLost("the log of the run has a hole")
        return len(entries) == PAGE

    def _pass_on(self, stream_id: bytes, frame: bytes, batches: list[Batch]) -> bool:
        """Takes one frame; False when an earlier one is missing."""
        try:
            first_seq, events = decode_frame(frame)
        except UNREADABLE as error:
            raise RunLost("a frame of the run cannot be read by this version") from error
        epoch, _, last_seq = stream_id.partition(b"-")
        place = self._cursor.place(int(epoch), first_seq)
        if place == "next":
            batches.append(Batch(first_seq, events))
            self._cursor.epoch, self._cursor.seq = int(epoch), int(last_seq)
            self.ended = self.ended or isinstance(events[-1], Finished | Failed)
        return place != "hole"
