"""Stored responses: found by their ids, forgotten, and followed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from trunkline_api.aside import aside
from trunkline_api.errors import ApiError, invalid
from trunkline_api.kept_reasoning import seal_of
from trunkline_api.render.response import response_id, run_id_of
from trunkline_api.stored_runs import Record, Stored, StoredRuns
from trunkline_shared.fold import said
from trunkline_shared.transcript import Item

ANCESTORS: Final = 32  # named by each record, so that so many are read in one round trip


@dataclass(frozen=True, slots=True)
class History:
    """What a response follows: `items` are all that was asked and said, from its first ancestor on
    or the last one that began with a compaction; `ancestors` the runs of those that it names.
    """

    items: list[Item] = field(default_factory=list)
    ancestors: list[str] = field(default_factory=list)


class StoredResponses(StoredRuns):
    kind = "response"

    async def get(self, response: str, principal: str) -> Stored:
        """As `find`, but raises ApiError 404."""
        found = await self.find(response, principal)
        if found is None:
            raise response_not_found(response)
        return found

    async def find(self, response: str, principal: str) -> Stored | None:
        """None for what does not exist, or is somebody else's."""
        run_id = run_id_of(response)
        if run_id is None:
            return None
        (found,) = await self.read([run_id], principal)
        return self.sealing(found) if found is not None and found.record.seals else found

    def sealing(self, found: Stored) -> Stored:
        """The same, whose replies have reasoning sealed."""
        return replace(found, seal=seal_of(self._vault, found.record.principal))

    async def delete(self, response: str, principal: str) -> bool:
        """Whether there was such a response of this principal."""
        stored = await self.find(response, principal)
        if stored is not None:
            await self.forget(stored)
        return stored is not None

    async def history(self, response: str, principal: str) -> History:
        """All up to the end of a response.

        Raises ApiError 400 when one of them does not exist (any more), or has not ended, and when
        they are larger than one request may be.
        """
        chain: list[Stored] = []  # the nearest first
        size = 0
        run_id = run_id_of(response)
        run_ids = [] if run_id is None else [run_id]
        if not run_ids:
            raise _not_found(response, response)
        while run_ids:
            # No more than was followed before, whose size was looked at then.
            found = await self.read(run_ids, principal)
            for run_id, stored in zip(run_ids, found, strict=True):
                chain.append(_ended(stored, response_id(run_id), response))
                size += chain[-1].size
                if size > self._max_bytes:
                    raise _too_long(self._max_bytes)
                if _stands_alone(chain[-1]):
                    break
            run_ids = _before(chain[-1])
        items = await aside(size, lambda: _items(chain))
        return History(items, [each.run_id for each in chain[:ANCESTORS]])

    def _lists_of(self, record: Record) -> Sequence[str]:
        return [self._keys.responses(record.principal)]


def _ended(stored: Stored | None, response: str, asked: str) -> Stored:
    if stored is None:
        raise _not_found(response, asked)
    if stored.folded is None:
        raise invalid(
            "previous_response_id",
            f"The response '{response}' has not ended yet: "
            "GET it until its status says so, then ask again.",
            "previous_response_not_ended",
        )
    return stored


def _stands_alone(stored: Stored) -> bool:
    """Whether nothing before it is read any more, be it there or not."""
    items = () if stored.folded is None else stored.folded.items
    return any(item.kind == "compaction" for item in items)


def _before(stored: Stored) -> list[str]:
    record = stored.record
    if _stands_alone(stored):
        return []
    if record.ancestors:
        return record.ancestors
    previous = None if record.previous is None else run_id_of(record.previous)
    return [] if previous is None else [previous]


def _items(chain: Sequence[Stored]) -> list[Item]:
    items: list[Item] = []
    for stored in reversed(chain):
        items += stored.record.input
        if stored.folded is not None:
            items += said(stored.folded)
    return items


def response_not_found(response: str) -> ApiError:
    """404 for what is no response of this principal."""
    return ApiError(
        404,
        f"Response with id '{response[:100]}' not found.",
        code="response_not_found",
        param="response_id",
    )


def _too_long(max_bytes: int) -> ApiError:
    message = f"What the response follows takes more than {max_bytes} bytes. "
    message += "Begin anew with an 'input' that says what matters of it."
    return invalid("previous_response_id", message, "context_length_exceeded")


def _not_found(missing: str, asked: str) -> ApiError:
    message = f"Previous response with id '{missing[:100]}' not found."
    if missing != asked:
        message = f"'{asked}' follows a response that is gone: '{missing}'. Send the whole input."
    return invalid("previous_response_id", message, "previous_response_not_found")
