"""Responses that are not stored, and are known to the WebSocket alone that they were told to."""

from dataclasses import replace
from typing import Any, NamedTuple

import orjson

from trunkline_api.stored_responses import History, StoredResponses
from trunkline_api.stored_runs import Record
from trunkline_shared.transcript import Item


class _Unstored(NamedTuple):
    """All that was asked and said up to the end of one response, as JSON."""

    response: str
    asked: bytes
    said: bytes

    @property
    def items(self) -> list[Item]:
        items: list[Item] = [*orjson.loads(self.asked), *orjson.loads(self.said)]
        return items

    @property
    def size(self) -> int:
        return len(self.asked) + len(self.said)


class UnstoredResponses(StoredResponses):
    """The stored responses of a deployment, and what one WebSocket knows besides: of each of its
    lanes the last response that is not stored. Takes what that does, and as `max_bytes` bounds
    what one response can follow, it bounds what is kept.
    """

    def __init__(self, *args: Any, max_bytes: int) -> None:
        super().__init__(*args, max_bytes=max_bytes)
        self._last: dict[str | None, _Unstored] = {}  # by lane, the oldest first

    def keep(self, lane: str | None, response: str, asked: bytes, said: list[Item]) -> None:
        """In place of the lane's last one. Beyond the bound the oldest are forgotten."""
        self._last.pop(lane, None)
        self._last[lane] = _Unstored(response, asked, orjson.dumps(said))
        size = sum(each.size for each in self._last.values())
        while size > self._max_bytes:
            size -= self._last.pop(next(iter(self._last))).size

    async def history(self, response: str, principal: str) -> History:
        known = self._find(response)
        return await super().history(response, principal) if known is None else History(known.items)

    async def seal(self, record: Record) -> bytes:
        """What follows a response that nobody else knows stands for itself: it is stored with all
        that came before.
        """
        known = None if record.previous is None else self._find(record.previous)
        if known is not None:
            record = replace(record, previous=None, input=[*known.items, *record.input])
        return await super().seal(record)

    def _find(self, response: str) -> _Unstored | None:
        return next((each for each in self._last.values() if each.response == response), None)
