"""The hub: this process's one reply channel, and the readers that wait on it.

A request costs no SUBSCRIBE: every run names this channel, and frames find their reader by run id.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from trunkline_shared.channel import Channel
from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import Failed, Finished
from trunkline_shared.frame import decode_frame
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.run import RunId

logger = logging.getLogger("trunkline.hub")

SILENCE_S = 5.0  # a reader that heard nothing for so long looks into the log
# What a frame of another version, or what is no frame at all, may raise when it is decoded.
UNREADABLE = (ValueError, KeyError, TypeError, IndexError)
_TICK_S = 0.001  # the loop's clock counts these: a timer of less would go off again and again
ASK_AGAIN_S = 5.0  # how often a run that nobody here reads is cancelled anew


class ReaderClosed(TrunklineError):
    """The reader's client left, or this process shuts down (`shutting_down`)."""

    def __init__(self, *, shutting_down: bool) -> None:
        super().__init__("the reader was closed")
        self.shutting_down = shutting_down


class Reader:
    """Frames of one run on their way to one client; at most `max_bytes` of them.

    Overflow drops them all and sets `behind`: the log has everything, and is read when the client
    has caught up. `behind` is also set when frames may have been missed.

    `straight` may take a frame while somebody waits, which is when none is before it: a task that
    wakes for each token would cost more than all else that is done with it.
    """

    __slots__ = (
        "_bytes",
        "_error",
        "_frames",
        "_max_bytes",
        "_patience",
        "_timeout_s",
        "_waiter",
        "_waits_since",
        "behind",
        "heard_at",
        "run_id",
        "straight",
    )

    def __init__(self, run_id: RunId, max_bytes: int) -> None:
        self.run_id = run_id
        self.behind = False
        self.straight: Callable[[bytes, bytes], bool] | None = None
        self.heard_at = time.monotonic()
        self._max_bytes = max_bytes
        self._frames: list[tuple[bytes, bytes]] = []
        self._bytes = 0
        self._waiter: asyncio.Future[bool] | None = None
        self._waits_since = self._timeout_s = 0.0
        self._patience: asyncio.TimerHandle | None = None
        self._error: Exception | None = None

    def push(self, stream_id: bytes, frame: bytes) -> None:
        self.heard_at = time.monotonic()
        if self.straight is not None and self._waiter is not None and not self._waiter.done():
            try:
                if self.straight(stream_id, frame):
                    return
            except Exception as error:  # noqa: BLE001  # one stream's end must not deafen the others
                self._fail(error)
        self._bytes += len(frame)
        if self._bytes > self._max_bytes:
            self.look_into_log()
        if not self.behind:
            self._frames.append((stream_id, frame))
            self._wake(True)

    def look_into_log(self) -> None:
        """Frames may be missing: what is buffered counts for nothing, the log is to be read."""
        self.behind = True
        self._frames.clear()
        self._bytes = 0
        self._wake(True)

    def close(self, *, shutting_down: bool = False) -> None:
        self._fail(ReaderClosed(shutting_down=shutting_down))

    async def wait(self, timeout_s: float) -> bool:
        """True when there are frames or `behind` is set, False after `timeout_s` in which not even
        `straight` took one.

        Raises ReaderClosed, or what `straight` raised.
        """
        if not self._frames and not self.behind and self._error is None:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            self._waits_since, self._timeout_s = time.monotonic(), timeout_s
            self._patience = loop.call_later(timeout_s, self._out_of_patience, loop)
            try:
                if not await self._waiter:
                    return False
            finally:
                self._waiter = None
                self._patience.cancel()
                self._patience = None  # it leads back here
        if self._error is not None:
            raise self._error
        return True

    def discard(self) -> None:
        """Nobody waits any more."""
        self.straight = self._error = None  # both lead back here: a circle costs a collection

    def take(self) -> list[tuple[bytes, bytes]]:
        """All buffered `(stream id, frame)`, in order."""
        frames, self._frames = self._frames, []
        self._bytes = 0
        return frames

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._wake(True)

    def _out_of_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        # Moving the timer with each frame that went straight would cost more than looking now.
        patience_s = self._timeout_s - (time.monotonic() - self.heard_at)
        if self.heard_at > self._waits_since and patience_s > _TICK_S:
            self._patience = loop.call_later(patience_s, self._out_of_patience, loop)
        else:
            self._wake(False)

    def _wake(self, heard: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(heard)


class Hub:
    """Readers by run id, fed by the reply channel. `cancel` is told of runs nobody here reads."""

    def __init__(
        self,
        channel: Callable[[Callable[[bytes], None], Callable[[], None]], Channel],
        *,
        reader_bytes: int,
        cancel: Callable[[str], None],
        closing: asyncio.Event,
    ) -> None:
        self._channel = channel(self._receive, self._reconnected)
        self._reader_bytes = reader_bytes
        self._cancel = cancel
        self._closing = closing
        self._readers: dict[bytes, Reader] = {}
        self._asked: dict[bytes, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        return self._channel.is_ready

    async def subscribed(self) -> None:
        """Returns when Redis has confirmed the subscription."""
        await self._channel.ready()

    async def start(self) -> None:
        await self._channel.start()
        self._tasks = [
            start_owned(self._net(), "hub:net"),
            start_owned(self._close_readers(), "hub:closing"),
        ]

    async def aclose(self) -> None:
        await end_owned(*self._tasks)
        await self._channel.aclose()

    def register(self, run_id: RunId) -> Reader:
        """To be called before the run is submitted, so that no frame comes too early."""
        reader = self._readers[run_id.encode()] = Reader(run_id, self._reader_bytes)
        if self._closing.is_set():
            reader.close(shutting_down=True)
        return reader

    def release(self, reader: Reader, *, over: bool = False) -> None:
        """The client is served, or gone; unless the run is `over`, the caller cancels it."""
        reader.discard()
        key = reader.run_id.encode()
        del self._readers[key]
        if not over:
            self._note_asked(key)

    def _receive(self, message: bytes) -> None:
        for line in message.split(b"\n"):
            key, _, rest = line.partition(b" ")
            stream_id, _, frame = rest.partition(b" ")
            reader = self._readers.get(key)
            if reader is None:
                self._stray(key, frame)
            else:
                reader.push(stream_id, frame)

    def _stray(self, key: bytes, frame: bytes) -> None:
        if time.monotonic() - self._asked.get(key, -ASK_AGAIN_S) < ASK_AGAIN_S:
            return
        try:
            _, events = decode_frame(frame)
            is_over = isinstance(events[-1], Finished | Failed)
            run_id = key.decode()
        except UNREADABLE as error:  # what one publishes must not make the hub deaf for all
            logger.warning("a message on the reply channel cannot be read: %r", error)
            return
        if not is_over:
            self._note_asked(key)
            self._cancel(run_id)

    def _note_asked(self, key: bytes) -> None:
        now = time.monotonic()
        self._asked.pop(key, None)
        self._asked[key] = now
        while (oldest := next(iter(self._asked))) != key and now - self._asked[
            oldest
        ] > ASK_AGAIN_S:
            del self._asked[oldest]

    def _reconnected(self) -> None:
        for reader in self._readers.values():
            reader.look_into_log()

    async def _net(self) -> None:
        """Whatever pub/sub lost, a silent reader finds within 5 s; all in one write."""
        while True:
            await asyncio.sleep(SILENCE_S)
            horizon = time.monotonic() - SILENCE_S
            for reader in self._readers.values():
                if reader.heard_at < horizon:
                    reader.look_into_log()

    async def _close_readers(self) -> None:
        await self._closing.wait()
        for reader in self._readers.values():
            reader.close(shutting_down=True)
