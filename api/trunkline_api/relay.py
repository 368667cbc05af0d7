"""The relay: a run's events for one reader, each once, in order, none missing, or an error."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from redis.exceptions import RedisError

from trunkline_api.client import Client
from trunkline_api.hub import UNREADABLE, Reader, ReaderClosed
from trunkline_shared.errors import RedisUnavailable, TrunklineError
from trunkline_shared.events import Attempt, Failed, Finished, RunEvent
from trunkline_shared.frame import Texts, open_frame
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe

PAGE = 100  # entries one read of the log fetches, of at most 64 KB each
AGAIN_S = 0.05  # from a read that failed at once to the next
SHARED_S = 1.0  # to learn what becomes of a run whose stream ends with this process
_ENDS: Final = (Finished, Failed)  # `Finished | Failed` would be made anew with each frame
AWAY_S = 30.0  # a log that cannot be read for so long ends the stream


class RunLost(TrunklineError):
    """The log does not hold what this reader was shown, or should be shown next."""


def failure_of(error: TrunklineError) -> Failed:
    """What a client is told of an error of `Relay.next`."""
    match error:
        case RedisUnavailable():
            return Failed("redis_unavailable", "The server's queue is away; try again later.")
        case RunLost():
            return Failed("run_lost", "The run's events were lost.")
        case _:
            return Failed("api_draining", "The server is shutting down; try again.")


def client_left(error: Exception) -> bool:
    return isinstance(error, ReaderClosed) and not error.shutting_down


@dataclass(slots=True)  # not frozen, as the next: that costs 0.3 µs a frame each
class Cursor:
    """The last event passed on: its seq, and its frame's stream id. Only ever moves forward."""

    stream_id: bytes
    seq: int

    def place(self, stream_id: bytes, first_seq: int) -> Literal["next", "known", "hole"]:
        """Where a frame that begins at `first_seq` stands.

        Raises RunLost when it tells a newer story of what was already passed on: Redis went back
        in time.
        """
        if first_seq == self.seq + 1:
            return "next"
        if first_seq > self.seq + 1:
            return "hole"
        if _epoch(stream_id) > _epoch(self.stream_id):
            raise RunLost("the log was written anew behind the reader")
        return "known"

    def move(self, stream_id: bytes) -> None:
        self.stream_id = stream_id
        self.seq = int(stream_id.partition(b"-")[2])


@dataclass(slots=True)
class Batch:
    first_seq: int
    events: Sequence[RunEvent]


class Relay:
    """Follows one run: pushed frames while they are without gaps, the log wherever they are not.

    Of a run that others read before, the seqs in `dropped` are passed over.
    """

    __slots__ = (
        "_away_since",
        "_client",
        "_cursor",
        "_dropped",
        "_keys",
        "_log",
        "_pipe",
        "_reader",
        "_tell",
        "ended",
    )

    def __init__(
        self, reader: Reader, pipe: Pipe, keys: Keys, dropped: Sequence[range] = ()
    ) -> None:
        self._reader = reader
        self._dropped = dropped  # seqs that are not passed on
        self._pipe = pipe
        self._keys = keys
        self._log = keys.log(reader.run_id)
        # Whoever submitted the run knows that it was created; nobody pushes that event.
        self._cursor = Cursor(b"0-1", 1)
        self._away_since: float | None = None
        self.ended = False  # the terminal event was passed on

    def go_straight(self, client: Client, tell: Callable[[Sequence[RunEvent]], None]) -> None:
        """From now on `tell` gets what is pushed while `next` waits and the client takes more; the
        end of the run, and whatever is not simply the next frame, still comes from `next`.
        """
        self._client = client
        self._tell = tell
        self._reader.straight = self._pass_straight

    async def next(self, timeout_s: float) -> list[Batch] | None:
        """The next events; None when `timeout_s` passed without any.

        Raises ReaderClosed, RunLost, or RedisUnavailable when the log has to be read and Redis is
        away for longer than a blip.
        """
        if not await self._reader.wait(timeout_s):
            return None
        batches: list[Batch] = []
        for stream_id, frame in self._reader.take():
            self._make_good(stream_id, frame, batches)
            if not self._pass_on(stream_id, frame, batches):
                self._reader.look_into_log()
            if self._reader.behind or self.ended:
                break
        if self._reader.behind and not self.ended:
            await self._catch_up(batches, timeout_s)
        return batches or None

    async def is_shared(self) -> bool:
        """Whether somebody else reads the run too, so that it goes on when this reader is gone.
        False also while Redis does not answer."""
        key = self._keys.run(self._reader.run_id)
        try:
            async with asyncio.timeout(SHARED_S):
                return await self._pipe.send("HGET", key, "read") is not None
        except (RedisUnavailable, RedisError, TimeoutError):
            return False

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
        at = self._cursor.stream_id
        try:
            entries = await self._pipe.send("XRANGE", self._log, at, "+", "COUNT", PAGE)
            if not entries and await self._pipe.send("EXISTS", self._log):
                return False  # Redis lost the log's tail; its writer sends it again
        except RedisError as error:
            raise RunLost(f"the log of the run cannot be read: {error}") from error
        if not entries or entries[0][0] != at:
            raise RunLost("the log of the run is gone")
        for stream_id, fields in entries[1:]:
            if not self._pass_on(stream_id, fields[1], batches):
                raise RunLost("the log of the run has a hole")
        return len(entries) == PAGE

    def _make_good(self, stream_id: bytes, frame: bytes, batches: list[Batch]) -> None:
        """Adds what nobody pushes: that a first attempt began, which is all that seq 2 can be."""
        if self._cursor.seq == 1 and frame.startswith(b"[3,"):
            self._cursor = Cursor(stream_id.partition(b"-")[0] + b"-2", 2)
            batches.append(Batch(2, [Attempt(1)]))

    def _pass_on(self, stream_id: bytes, frame: bytes, batches: list[Batch]) -> bool:
        """Takes one frame; False when an earlier one is missing."""
        first_seq, events, is_end = _opened(frame)
        place = self._cursor.place(stream_id, first_seq)
        if place == "next":
            kept = self._kept(first_seq, events) if self._dropped else events
            batches.append(Batch(first_seq, kept))
            self._cursor.move(stream_id)
            self.ended = self.ended or is_end
        return place != "hole"

    def _kept(self, first_seq: int, events: Sequence[RunEvent]) -> Sequence[RunEvent]:
        return [
            event
            for seq, event in enumerate(events, first_seq)
            if not any(seq in drop for drop in self._dropped)
        ]

    def _pass_straight(self, stream_id: bytes, frame: bytes) -> bool:
        """Takes one frame past `next`; False when `next` has to see to it."""
        if not self._client.takes_more:
            return False
        first_seq, events, is_end = _opened(frame)
        if is_end or self._cursor.place(stream_id, first_seq) != "next":
            return False
        self._tell(events)
        self._cursor.move(stream_id)
        return True


def _opened(frame: bytes) -> tuple[int, Sequence[RunEvent], bool]:
    """Of one frame: its first seq, its events, whether the last of them ends the run."""
    try:
        first_seq, events = open_frame(frame)
        ends = events.more if type(events) is Texts else events[-1:]
        is_end = bool(ends) and isinstance(ends[-1], _ENDS)
    except UNREADABLE as error:
        raise RunLost("a frame of the run cannot be read by this version") from error
    return first_seq, events, is_end


def _epoch(stream_id: bytes) -> int:
    return int(stream_id.partition(b"-")[0])
