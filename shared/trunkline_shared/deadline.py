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
