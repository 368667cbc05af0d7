"""Publishes what runs say: group commit over one connection, every frame in the log exactly once.

While a write is under way, what all runs say gathers and leaves in the next one; after the write of
a crowd it gathers a moment longer. What a reader waits for most (first output, tool calls, the end)
waits for neither.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_worker.frame_calls import calls_of
from trunkline_worker.frames import RECORDED, EntryFrame, Frame, FrameBuffer
from trunkline_worker.run_writer import RunWriter

logger = logging.getLogger("trunkline.publish")

KEPT_S: Final = 2.0  # acknowledged frames are sent again after a reconnect for so long
# A write costs the two tiers and Redis about 60 µs, whatever it brings. After one of so many runs
# the next may wait this long for more of them: a paced token of 1,000 streams costs a sixth less.
# What is urgent never waits.
CROWD: Final = 8
WINDOW_S: Final = 0.01
RETRY_S = 0.25
STUCK_S = 5.0
_IN_LOG: Final = frozenset({b"added", b"known", b"ok", b"done"})


class Publisher:
    """The one writer of a worker's frames. `pipe` must be its own: order is its promise.

    `on_lost(run_id, answer)` hears of every run that must not go on here: 'fenced', 'gone' or
    'refused'. While `allowed()` is false (the lease may be lost) frames wait.
    """

    def __init__(
        self,
        pipe: Pipe,
        *,
        max_run_bytes: int,
        allowed: Callable[[], bool],
        on_lost: Callable[[str, str], None],
    ) -> None:
        self._pipe = pipe
        self._max_run_bytes = max_run_bytes
        self._allowed = allowed
        self._on_lost = on_lost
        self._writers: dict[str, RunWriter] = {}
        self._dirty: dict[str, RunWriter] = {}
        self._loop = asyncio.get_running_loop()
        self._scheduled = False  # a write is due in this loop tick
        self._next_at = 0.0  # when the next write is due that is not urgent, in loop time
        self._written_at = 0.0
        self._window: asyncio.TimerHandle | None = None  # until then
        self._wake = asyncio.Event()  # a write is due once there is a connection
        self._under_way = 0  # frames sent whose answer is not here
        self._again: list[Frame] = []  # to be sent again, before anything new
        self._kept: deque[tuple[float, list[Frame]]] = deque()
        self._generation = 0
        self._owner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._owner = start_owned(self._run(), "publisher")

    async def aclose(self) -> None:
        await end_owned(self._owner)
        if self._window is not None:
            self._window.cancel()

    def open_run(self, run_id: str, epoch: int, last_seq: int, reply: str) -> RunWriter:
        writer = RunWriter(self, FrameBuffer(run_id, epoch, last_seq, reply), self._max_run_bytes)
        writer.generation = self._generation  # the claim has just written what comes before
        self._writers[run_id] = writer
        return writer

    def notice(self, writer: RunWriter, *, urgent: bool) -> None:
        self._dirty[writer.buffer.run_id] = writer
        if urgent:
            self._schedule()
        elif not self._under_way and self._window is None:
            self._schedule_in_turn()

    def forget(self, writer: RunWriter) -> None:
        run_id = writer.buffer.run_id
        # A later attempt of the same run may write here by now.
        if self._dirty.get(run_id) is writer:
            del self._dirty[run_id]
        if self._writers.get(run_id) is writer:
            del self._writers[run_id]

    def resume(self) -> None:
        """To be called when `allowed` has become true again."""
        self._schedule()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._pipe.connected()
            self._write()

    def _schedule(self) -> None:
        # A callback, not a task that is woken: 5 µs less for each write.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._write)

    def _schedule_in_turn(self) -> None:
        """Where many runs speak at once, a write waits until more of them have: see CROWD."""
        left_s = self._next_at - self._loop.time()
        if left_s <= 0:
            self._schedule()
        elif self._window is None:
            self._window = self._loop.call_later(left_s, self._end_window)

    def _end_window(self) -> None:
        self._window = None
        if self._dirty or self._again:
            self._schedule()

    def _write(self) -> None:
        self._scheduled = False
        if not self._pipe.is_connected:
            self._wake.set()
            return
        if not self._allowed():
            return  # `resume` comes back to it
        if self._generation != self._pipe.generation:
            self._generation = self._pipe.generation
            self._rewind()
        again, self._again = self._again, []
        for frame in again:
            frame.follows = False
        new = self._drain()
        self._space(len(new))
        self._send(again + new)

    def _space(self, frames: int) -> None:
        """Notes when the next write is due, after one of so many frames."""
        now = self._loop.time()
        # Many that speak at once and then are silent, as few streams in step do, are no crowd.
        crowded = frames >= CROWD and now - self._written_at < 2 * WINDOW_S
        self._next_at = now + WINDOW_S if crowded else 0.0
        self._written_at = now

    def _rewind(self) -> None:
        """After a reconnect: what Redis may have lost with the old primary goes first."""
        recent = [frame for _, frames in self._kept for frame in frames]
        self._kept.clear()
        for frame in recent:
            if writer := self._writer_of(frame):
                writer.unacknowledged += len(frame.data)
        self._again = recent + self._again

    def _drain(self) -> list[Frame]:
        dirty, self._dirty = self._dirty, {}
        generation = self._generation
        frames: list[Frame] = []
        for run_id, writer in dirty.items():
            try:
                new = writer.buffer.drain()
            except TypeError as error:
                # No JSON, for example half of a surrogate pair: one run's fault, nobody else's.
                logger.error("run %s says what cannot be written: %s", run_id, error)
                self._on_lost(run_id, "refused")
                continue
            if new:
                new[0].follows = not writer.unacknowledged and writer.generation == generation
            for frame in new:
                writer.unacknowledged += len(frame.data)
            frames += new
        return frames

    def _send(self, frames: list[Frame]) -> None:
        """All in one write."""
        for script, some, arguments in calls_of(frames):
            self._under_way += len(some)
            settle = self._settle_entry if isinstance(some[0], EntryFrame) else self._settle
            self._pipe.call_then(partial(settle, some), script, *arguments)

    def _settle_entry(self, frames: list[Frame], answer: Any) -> None:
        self._settle(frames, answer)
        if isinstance(frames[0], EntryFrame) and answer in (b"added", [b"known"]):
            frames[0].entry.added()

    def _settle(self, frames: list[Frame], answers: Any) -> None:
        """What Redis said to one call: a word for all its frames, or one for each, or an error."""
        self._under_way -= len(frames)
        if answers == b"added":  # nearly always
            self._keep(frames)
            self._added(frames)
        elif answers == b"ok":  # all of a call of ends
            self._keep(frames)
            self._over(frames, "ok")
        elif isinstance(answers, RedisUnavailable):
            self._again += frames
            self._schedule()
        elif isinstance(answers, Exception):
            logger.error("redis refused frames: %s", answers)
            for frame in frames:
                self._acknowledge(frame, b"refused")
        else:
            told = list(zip(frames, answers, strict=True))
            self._keep([frame for frame, answer in told if answer in _IN_LOG])
            for frame, answer in told:
                self._acknowledge(frame, answer)
        if self._dirty or self._again:
            self._schedule_in_turn()

    def _added(self, frames: list[Frame]) -> None:
        for frame in frames:
            if writer := self._writer_of(frame):
                writer.unacknowledged -= len(frame.data)
                writer.stuck_since = None
                writer.generation = self._generation

    def _acknowledge(self, frame: Frame, told: bytes) -> None:
        if told == b"added":
            self._added([frame])
            return
        writer = self._writer_of(frame)
        answer, _, words = told.decode().partition(" ")
        if words:
            logger.error("redis refused the end of run %s: %s", frame.run_id, words)
        if writer is None:
            return
        if self._is_for_later(writer, answer):
            asyncio.get_running_loop().call_later(RETRY_S, self._retry, frame)
            return
        writer.stuck_since = None
        if answer == "early":
            answer = "refused"
        if frame.outcome and frame.outcome != RECORDED:
            self._over([frame], answer)
            return
        writer.unacknowledged -= len(frame.data)
        if answer in ("fenced", "gone", "refused"):
            self._on_lost(frame.run_id, answer)

    def _over(self, ends: list[Frame], answer: str) -> None:
        for frame in ends:
            if writer := self._writer_of(frame):
                writer.unacknowledged -= len(frame.data)
                writer.close()
                if not writer.ended.done():
                    writer.ended.set_result(answer)

    def _writer_of(self, frame: Frame) -> RunWriter | None:
        """Whoever sent it, if still there: an earlier attempt is none of the later one's."""
        writer = self._writers.get(frame.run_id)
        return writer if writer is not None and writer.buffer is frame.source else None

    def _retry(self, frame: Frame) -> None:
        self._again.append(frame)
        self._schedule()

    def _is_for_later(self, writer: RunWriter, answer: str) -> bool:
        """Early for too long: the frame before is lost for good, Redis went back in time."""
        if answer == "full":
            writer.stuck_since = None  # this is the one that the others wait for
        elif answer == "early":
            writer.stuck_since = writer.stuck_since or time.monotonic()
            return time.monotonic() - writer.stuck_since <= STUCK_S
        return answer == "full"

    def _keep(self, frames: list[Frame]) -> None:
        now = time.monotonic()
        self._kept.append((now, frames))
        while self._kept[0][0] < now - KEPT_S:
            self._kept.popleft()
