"""What one attempt of a run writes through."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from trunkline_shared.events import (
    ActivityEnd,
    ActivityStart,
    RunEvent,
    Step,
    TextDelta,
    ToolCallStart,
)
from trunkline_shared.frame import Texts
from trunkline_worker.frames import Entry, FrameBuffer, is_terminal, shows_output

URGENT = (ToolCallStart, ActivityStart, ActivityEnd)


class RunBufferFull(Exception):
    """More than the allowed bytes of one run wait for Redis."""


class Publishes(Protocol):
    """Who takes what writers have gathered."""

    def notice(self, writer: "RunWriter", *, urgent: bool) -> None:
        """The writer's buffer holds events; `urgent` ones do not wait for a write under way."""

    def forget(self, writer: "RunWriter") -> None:
        """What its buffer holds is not to be written."""


class RunWriter:
    """Owned by the task that executes the run."""

    def __init__(self, publisher: Publishes, buffer: FrameBuffer, max_bytes: int) -> None:
        self._publisher = publisher
        self._max_bytes = max_bytes
        self.buffer = buffer
        self.unacknowledged = 0  # bytes of frames sent and not yet known to be in the log
        self.generation = -1  # the connection on which everything sent so far was acknowledged
        self.stuck_since: float | None = None  # frames wait for one that Redis does not have
        self.has_output = False  # some of the answer was said that no step has recorded
        self.first_output_at: float | None = None  # Unix time
        self.complete = False  # the terminal event was taken; a run has only one
        self.closed = False  # nothing more goes out: fenced, handed back, or over
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._recording: set[asyncio.Future[None]] = set()

    def emit(self, events: Sequence[RunEvent | Texts]) -> None:
        """Takes events in order, a `Texts` for as many; they leave with the next write.

        Raises RunBufferFull when Redis has not taken this run's events for too long. The terminal
        event is always taken; `ended` resolves with the answer of `finish` to it.
        """
        if self.closed or self.complete or not events:
            return
        self.buffer.add(events)
        last, urgent = events[-1], False
        if not _is_text(last):
            self.complete = is_terminal(last)
            urgent = self.complete or any(isinstance(event, URGENT) for event in events)
        if not self.has_output and (_is_text(events[0]) or any(map(shows_output, events))):
            self.has_output = urgent = True
            self.first_output_at = self.first_output_at or time.time()
        self._publisher.notice(self, urgent=urgent)
        waiting = self.unacknowledged + self.buffer.waiting_chars
        if waiting > self._max_bytes and not self.complete:
            raise RunBufferFull(f"{waiting} bytes of the run wait for Redis")

    async def record(self, entry: bytes, events: Sequence[RunEvent]) -> None:
        """As `emit`, and adds `entry` to the run's journal with the last of the events, of which
        there is one at least. Returns once Redis has both; raises CancelledError when the writer is
        closed before.
        """
        if self.closed or self.complete:
            raise asyncio.CancelledError("the run is over here")
        self.emit(events)
        added: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer.bring(Entry(entry, partial(_resolve, added)))
        if any(type(event) is Step for event in events):
            self.has_output = False
        self._publisher.notice(self, urgent=True)
        self._recording.add(added)
        try:
            await added
        finally:
            self._recording.discard(added)

    def keep(self, result: bytes, turn: bytes) -> None:
        """What is stored with the run's end; to be called before that is emitted."""
        self.buffer.result, self.buffer.turn = result, turn

    def close(self) -> None:
        """Drops what waits. Frames already sent stay what they are. Idempotent."""
        if not self.closed:
            self.closed = True
            self._publisher.forget(self)
            for added in self._recording:
                added.cancel()

    def give_up(self) -> None:
        """Closes; the run's end has to be written over its log: `ended` says 'refused'."""
        self.close()
        if not self.ended.done():
            self.ended.set_result("refused")


def _is_text(event: RunEvent | Texts) -> bool:
    return type(event) is TextDelta or type(event) is Texts


def _resolve(added: asyncio.Future[None]) -> None:
    if not added.done():  # whoever waited for it may have been cancelled
        added.set_result(None)
