"""A time-out for waits that come by the thousand a second."""

import asyncio
from collections.abc import Callable


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


class Silence:
    """Cancels the task that makes this when `heard` was not called for `timeout_s`.

    Looks four times in that span, so it may take a quarter more; hearing costs next to nothing.
    `gave_up` tells its cancellation from others', once.
    """

    __slots__ = ("_every_s", "_gave_up", "_looks", "_loop", "_task", "_timer")

    def __init__(self, timeout_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._every_s = timeout_s / 4
        self._looks = 0
        self._gave_up = False
        self._timer = self._loop.call_later(self._every_s, self._look)

    def heard(self) -> None:
        self._looks = 0

    def gave_up(self) -> bool:
        """To be asked by who caught a CancelledError: whether silence was the only reason."""
        gave_up, self._gave_up = self._gave_up, False
        return gave_up and self._task.uncancel() == 0

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        self._looks += 1
        if self._looks > 4:
            self._gave_up = True
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(self._every_s, self._look)
