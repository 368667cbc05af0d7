"""A time-out for waits that come by the thousand a second."""

import asyncio
from collections.abc import Callable
from types import TracebackType


class Deadline:
    """Calls `expired` when `set` was not followed by `clear`, or another `set`, in time.

    Moving it stores a number: the one timer behind it looks, when it fires, whether it is due, and
    is armed anew if not. (`asyncio.timeout` makes and cancels a timer each time: 7 µs.) May fire
    at any time after it is due; `close` it in the end.
    """

    __slots__ = ("_at", "_expired", "_loop", "_timer")

    def __init__(self, expired: Callable[[], None]) -> None:
        self._expired = expired
        self._loop = asyncio.get_running_loop()
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, after_s: float) -> None:
        self._at = at = self._loop.time() + after_s
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._fire)

    def clear(self) -> None:
        self._at = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._fire)
            return
        self._at = None
        self._expired()


class Patience:
    """A time-out around one wait after the other of the task that makes this.

    with patience:          # TimeoutError when what is inside takes longer than `timeout_s`
        await something
    """

    __slots__ = ("_cancelling", "_deadline", "_gave_up", "_task", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timeout_s = timeout_s
        self._deadline = Deadline(self._give_up)
        self._cancelling = 0
        self._gave_up = False

    def __enter__(self) -> None:
        self._cancelling = self._task.cancelling()
        self._deadline.set(self._timeout_s)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deadline.clear()
        if not self._gave_up:
            return
        self._gave_up = False
        # As asyncio.timeout does it: a cancellation from elsewhere goes on as one.
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def close(self) -> None:
        self._deadline.close()

    def _give_up(self) -> None:
        self._gave_up = True
        self._task.cancel()
