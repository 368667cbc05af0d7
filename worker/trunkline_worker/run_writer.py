"""What one attempt of a run writes through."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from trunkline_shared.events import RunEvent, TextDelta, ToolCallStart
from trunkline_shared.frame import Texts
from trunkline_worker.frames import FrameBuffer, is_terminal, shows_output


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
        self.has_output = False
        self.first_output_at: float | None = None  # Unix time
        self.complete = False  # the terminal event was taken; a run has only one
        self.closed = False  # nothing more goes out: fenced, handed back, or over
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def emit(self, events: Sequence[RunEvent | Texts]) -> None:
        """Takes events in order, a `Texts` for as many; they leave with the next write.

        Raises RunBufferFull when Redis has not taken this run's events for too long. The terminal
        event is always taken; `ended` resolves with the answer of `finish` to it.
        """
        if self.closed or self.complete or not events:
            return
        self.buffer.add(events)
        last, urgent = events[-1], False
        if type(last) is not TextDelta and type(last) is not Texts:
            self.complete = is_terminal(last)
            urgent = self.complete or any(type(event) is ToolCallStart for event in events)
        if not self.has_output and shows_output(events[0]):
            self.has_output = urgent = True
            self.first_output_at = time.time()
        self._publisher.notice(self, urgent=urgent)
        waiting = self.unacknowledged + self.buffer.waiting_chars
        if waiting > self._max_bytes and not self.complete:
            raise RunBufferFull(f"{waiting} bytes of the run wait for Redis")

    def keep(self, result: bytes, turn: bytes) -> None:
        """What is stored with the run's end; to be called before that is emitted."""
        self.buffer.result, self.buffer.turn = result, turn

    def close(self) -> None:
        """Drops what waits. Frames already sent stay what they are. Idempotent."""
        if not self.closed:
            self.closed = True
            self._publisher.forget(self)

    def give_up(self) -> None:
        """Closes; the run's end has to be written over its log: `ended` says 'refused'."""
        self.close()
        if not self.ended.done():
            self.ended.set_result("refused")
