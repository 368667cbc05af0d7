"""Stored chat completions: found by their ids, listed in pages, renamed, forgotten.

A list is a sorted set of run ids, which begin with the time: one for each principal, and one for
each model and each pair of metadata, under a mark that says neither.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from trunkline_api.errors import ApiError
from trunkline_api.lookup import Lookup
from trunkline_api.paging import Order
from trunkline_api.render.completion import completion_id, run_of_completion
from trunkline_api.stored_runs import Record, Stored, StoredRuns
from trunkline_shared.keys import Keys
from trunkline_shared.run import id_at
from trunkline_shared.scripts import Argument
from trunkline_shared.vault import Vault

_LOOK: Final = 500  # ids of one list that are compared with others at once


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which completions a list is to have."""

    principal: str
    model: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def has(self, record: Record) -> bool:
        metadata = record.echo["metadata"].items()
        return self.model in (None, record.model) and metadata >= self.metadata.items()


class StoredCompletions(StoredRuns):
    kind = "completion"

    def __init__(
        self, lookup: Lookup, keys: Keys, vault: Vault, *, max_bytes: int, retention_s: float
    ) -> None:
        super().__init__(lookup, keys, vault, max_bytes=max_bytes)
        self._retention_ms = int(retention_s * 1000)

    async def get(self, completion: str, principal: str) -> Stored:
        """Raises ApiError 404, also for one that has not ended."""
        run_id = run_of_completion(completion)
        found = None
        if run_id is not None:
            (found,) = await self.read([run_id], principal)
        if found is None or found.folded is None or not found.size:
            raise completion_not_found(completion)
        return found

    def lists(self, record: Record) -> str:
        """The marks of the lists that it is in, as `submit` reads them."""
        return " ".join(marks[0] for marks in self._marks(record))

    async def page(
        self, wanted: Wanted, *, after: str | None, limit: int, order: Order
    ) -> tuple[list[Stored], bool]:
        """Those that come after the run `after`, whether or not that is still there, and whether
        there may be more. A page that would take too many bytes ends early.
        """
        lists = await self._lists(wanted)
        found: list[Stored] = []
        room = self._max_bytes
        while len(found) <= limit:
            ids, cursor = await self._look(lists, after, order, limit + 1 - len(found))
            if cursor is None:
                return found, False
            sizes = await self._sizes(ids, [*lists[0], self._keys.completions(wanted.principal)])
            fitting = _fitting(sizes, room, at_least_one=not found)
            if sizes and not fitting:
                break
            read = await self.read(fitting, wanted.principal, leave_out=True)
            found += [each for each in read if each is not None and wanted.has(each.record)]
            room -= sum(sizes[run_id] for run_id in fitting)
            after = fitting[-1] if len(fitting) < len(sizes) else cursor
        return found[:limit], True

    async def change(self, stored: Stored, metadata: dict[str, str]) -> Stored:
        """With other metadata. Raises ApiError 404 when it is gone by now."""
        run_id, before = stored.run_id, stored.record
        record = replace(before, echo={**before.echo, "metadata": metadata})
        kept = [self._keys.listed(marks[0]) for marks in self._marks(record)]
        left = [key for key in self._lists_of(before)[1:] if key not in kept]
        over = f"({id_at(time.time_ns() // 1_000_000 - self._retention_ms)}"
        sealed = await self.seal(record)
        answer, *_ = await self._lookup.ask(
            ("SET", self._keys.record(run_id), sealed, "XX", "KEEPTTL"),
            *(("ZREM", key, run_id) for key in left),
            # Of a list that is never submitted to, nobody else takes what is over.
            *(("ZREMRANGEBYLEX", key, "-", over) for key in kept),
            *(("ZADD", key, 0, run_id) for key in kept),
            *(("PEXPIRE", key, self._retention_ms) for key in kept),
        )
        if answer is None:
            await self.forget(replace(stored, record=record))
            raise completion_not_found(completion_id(run_id))
        return replace(stored, record=record)

    def _marks(self, record: Record) -> list[list[str]]:
        metadata = record.echo["metadata"]
        return self._marks_of(Wanted(record.principal, record.model, metadata))

    def _marks_of(self, wanted: Wanted) -> list[list[str]]:
        """For the model and for each pair the marks by all secret keys, the present one's first."""
        said: list[list[str]] = [] if wanted.model is None else [["model", wanted.model]]
        said += [["metadata", *pair] for pair in wanted.metadata.items()]
        return [self._vault.marks(orjson.dumps([wanted.principal, *each])) for each in said]

    def _lists_of(self, record: Record) -> list[str]:
        marks = [self._keys.listed(mark) for marks in self._marks(record) for mark in marks]
        return [self._keys.completions(record.principal), *marks]

    async def _lists(self, wanted: Wanted) -> list[list[str]]:
        """The lists that all have what is wanted, the shortest first; each in several parts."""
        if not (marked := self._marks_of(wanted)):
            return [[self._keys.completions(wanted.principal)]]
        lists = [[self._keys.listed(mark) for mark in marks] for marks in marked]
        if len(lists) == 1:
            return lists
        counts = iter(await self._lookup.ask(*(("ZCARD", key) for keys in lists for key in keys)))
        lengths = [sum(next(counts) for _ in keys) for keys in lists]
        return [lists[index] for index in sorted(range(len(lists)), key=lengths.__getitem__)]

    async def _look(
        self, lists: Sequence[Sequence[str]], after: str | None, order: Order, count: int
    ) -> tuple[list[str], str | None]:
        """The next ids that all lists have, at most `count`, and the last that was looked at; None
        at the end.
        """
        first, *others = lists
        name, *span = ("ZRANGEBYLEX", "-", "+") if order == "asc" else ("ZREVRANGEBYLEX", "+", "-")
        if after is not None:
            span[0] = f"({after}"
        at_once = _LOOK if others else count
        where: tuple[Argument, ...] = (*span, "LIMIT", 0, at_once)
        rows = await self._lookup.ask(*((name, key, *where) for key in first))
        there = {run_id.decode() for row in rows for run_id in row}
        ids = sorted(there, reverse=order == "desc")[:at_once]
        if not ids:
            return [], None
        for keys in others:
            scores = await self._lookup.ask(*(("ZMSCORE", key, *ids) for key in keys))
            there &= {
                each
                for row in scores
                for each, score in zip(ids, row, strict=True)
                if score is not None
            }
        both = [each for each in ids if each in there][:count]
        return both, both[-1] if len(both) == count else ids[-1]

    async def _sizes(self, ids: Sequence[str], lists: Sequence[str]) -> dict[str, int]:
        """Of those that have ended, in bytes. What is gone is taken out of the lists too."""
        keys = [key for each in ids for key in (self._keys.record(each), self._keys.result(each))]
        lengths = await self._lookup.ask(*(("STRLEN", key) for key in keys))
        rows = [*zip(ids, lengths[::2], lengths[1::2], strict=True)]
        if gone := [run_id for run_id, asked, _ in rows if not asked]:
            await self._lookup.ask(*(("ZREM", key, *gone) for key in lists))
        return {run_id: asked + said for run_id, asked, said in rows if asked and said}


def _fitting(sizes: Mapping[str, int], room: int, *, at_least_one: bool) -> list[str]:
    """The first of them, as many as have room."""
    fitting: list[str] = []
    for run_id, size in sizes.items():
        if size > room and (fitting or not at_least_one):
            break
        fitting.append(run_id)
        room -= size
    return fitting


def completion_not_found(completion: str) -> ApiError:
    """404 for what is no stored completion of this principal."""
    return ApiError(
        404,
        f"Chat completion with id '{completion[:100]}' not found.",
        code="completion_not_found",
        param="completion_id",
    )
