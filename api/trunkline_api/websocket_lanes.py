"""The responses of one WebSocket: in each lane one after the other, so many at once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from trunkline_api.errors import RATE_LIMIT, ApiError, invalid
from trunkline_api.wire.websocket import ClientEvent
from trunkline_shared.owned import end_owned

NAMED_LANES: Final = 32  # as OpenAI has it
_WAITING: Final = 64  # messages that wait for their turn


class Lanes:
    """Gives each message its turn: a task in which `respond` answers it and raises nothing.

    At most `at_once` have theirs at a time, and of each lane one; those that wait take at most
    `max_bytes`.
    """

    def __init__(
        self,
        respond: Callable[[ClientEvent], Coroutine[Any, Any, None]],
        *,
        at_once: int,
        max_bytes: int,
    ) -> None:
        self._respond = respond
        self._at_once = at_once
        self._max_bytes = max_bytes
        self._names: set[str] = set()
        self._waiting: list[ClientEvent] = []
        self._busy: dict[str | None, asyncio.Task[None]] = {}

    def offer(self, event: ClientEvent) -> None:
        """Raises ApiError when there is no room for it."""
        name = event.stream_id
        if name is not None and name not in self._names:
            if len(self._names) == NAMED_LANES:
                message = f"This WebSocket has {NAMED_LANES} names of streams, which is the limit: "
                message += "use one of them again, or open another WebSocket."
                raise invalid("stream_id", message, "websocket_stream_limit_reached")
            self._names.add(name)
        size = sum(len(each.body) for each in self._waiting) + len(event.body)
        if len(self._waiting) == _WAITING or size > self._max_bytes:
            message = "Too many messages wait on this WebSocket: send more when responses ended."
            raise ApiError(429, message, RATE_LIMIT, "websocket_queue_full")
        self._waiting.append(event)
        self._advance()

    def give_up(self) -> list[ClientEvent]:
        """The messages that wait, which now nobody answers."""
        waiting, self._waiting = self._waiting, []
        return waiting

    async def idle(self) -> None:
        """Returns when all that had their turn were answered."""
        while self._busy:
            await asyncio.wait(self._busy.values())

    async def aclose(self) -> None:
        """Cuts off what has not ended."""
        self._waiting.clear()
        await end_owned(*self._busy.values())
        del self._respond  # leads back here

    def _advance(self) -> None:
        for event in tuple(self._waiting):
            if len(self._busy) == self._at_once:
                return
            lane = event.stream_id
            if lane not in self._busy:
                self._waiting.remove(event)
                task = asyncio.create_task(self._turn(event), name="websocket:response")
                self._busy[lane] = task

    async def _turn(self, event: ClientEvent) -> None:
        try:
            await self._respond(event)
        finally:
            del self._busy[event.stream_id]
            self._advance()
