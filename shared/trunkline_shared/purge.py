"""What was stored removed before its time, in small steps beside a deployment that runs."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from trunkline_shared.keys import Keys
from trunkline_shared.run import id_at
from trunkline_shared.settings import STORED, StoredKind

if TYPE_CHECKING:  # the command line knows the kinds, and needs no Redis for them
    from redis.asyncio import Redis

PurgedKind: TypeAlias = StoredKind | Literal["idempotency"]
PURGED: Final[tuple[PurgedKind, ...]] = (*STORED, "idempotency")
_BATCH: Final = 100  # of which Redis is busy for about a millisecond
_SCAN: Final = 500
_RUNNING: Final = (b"queued", b"waiting", b"running")
_WILD: Final = re.compile(r"[*?\[\]\\]")  # what SCAN takes for more than itself


@dataclass(slots=True)
class Count:
    """`in_use` was left: its run, or a run of the conversation, had not ended."""

    removed: int = 0
    in_use: int = 0

    def add(self, removed: int, in_use: int) -> None:
        self.removed += removed
        self.in_use += in_use


class Purge:
    """Removes what is older than `before_ms`, Unix time: runs by their request, conversations by
    their last change; everything without one. A `dry_run` only counts.
    """

    def __init__(
        self, client: "Redis", keys: Keys, *, before_ms: int | None = None, dry_run: bool = False
    ) -> None:
        self._client: Any = client  # its types are not fit for `await`
        self._keys = keys
        self._before_ms = before_ms
        self._dry_run = dry_run

    async def principals(self, kind: StoredKind) -> list[str]:
        """Who has something of a kind, sorted."""
        stem = self._list(kind, "")
        found = self._client.scan_iter(match=f"{stem}*", count=_SCAN)
        return sorted({key.decode().removeprefix(stem) async for key in found})

    async def remove(self, kind: PurgedKind, principal: str | None) -> Count:
        """Of one principal, or of all. Idempotency keys go last: what they alone keep goes with
        them.
        """
        count = Count()
        if kind == "idempotency":
            await self._remove_keys(principal, count)
            return count
        for each in await self.principals(kind) if principal is None else [principal]:
            await self._remove_listed(kind, each, count)
        return count

    async def _remove_listed(self, kind: StoredKind, principal: str, count: Count) -> None:
        key, met = self._list(kind, principal), set[str]()
        remove = self._conversations if kind == "conversations" else self._runs
        async for batch in self._batches(key):
            ids = [each for each, score in batch if self._is_old(kind, each, score)]
            ids = [each for each in ids if each not in met]  # a scan may tell one twice
            met.update(ids)
            if ids:
                count.add(*await remove(key, principal, ids))

    async def _remove_keys(self, principal: str | None, count: Count) -> None:
        stem = self._keys.idem("")
        match = f"{stem}*" if principal is None else f"{_tame(stem + principal)}:*"
        cursor = -1
        while cursor:
            cursor, found = await self._client.scan(max(cursor, 0), match=match, count=_SCAN)
            names = [each.decode() for each in found]
            if principal is not None:  # another one's name may go on after the colon
                names = [each for each in names if each.rpartition(":")[0] == stem + principal]
            for start in range(0, len(names), _BATCH):
                count.add(*await self._idempotent(names[start : start + _BATCH]))

    def _list(self, kind: StoredKind, principal: str) -> str:
        match kind:
            case "responses":
                return self._keys.responses(principal)
            case "completions":
                return self._keys.completions(principal)
            case "conversations":
                return self._keys.conversations(principal)

    def _is_old(self, kind: StoredKind, each: str, score: float) -> bool:
        if kind != "conversations":
            return self._is_old_run(each)
        return self._before_ms is None or score < self._before_ms

    def _is_old_run(self, run_id: str) -> bool:
        return self._before_ms is None or run_id < id_at(self._before_ms)

    async def _batches(self, key: str) -> AsyncIterator[list[tuple[str, float]]]:
        cursor = -1
        while cursor:
            cursor, found = await self._client.zscan(key, max(cursor, 0), count=_BATCH)
            members = [(each.decode(), score) for each, score in found]
            for start in range(0, len(members), _BATCH):
                yield members[start : start + _BATCH]

    async def _runs(self, key: str, _: str, ids: Sequence[str]) -> tuple[int, int]:
        states = await self._asked(("HGET", self._keys.run(each), "st") for each in ids)
        over = [each for each, st in zip(ids, states, strict=True) if st not in _RUNNING]
        records = [self._keys.record(each) for each in over]
        if self._dry_run:
            there = await self._asked(("EXISTS", record) for record in records)
        elif over:
            # Lists of one model or pair of metadata lose what is gone when they are read.
            rest = [stem(each) for each in over for stem in (self._keys.result, self._keys.log)]
            *there, _, _ = await self._asked(
                [*(("UNLINK", each) for each in records), ("UNLINK", *rest), ("ZREM", key, *over)]
            )
        else:
            there = []
        return sum(there), len(ids) - len(over)

    async def _idempotent(self, names: Sequence[str]) -> tuple[int, int]:
        told = await self._asked(("GET", name) for name in names)
        runs = {name: run.split()[0].decode() for name, run in zip(names, told, strict=True) if run}
        runs = {name: run_id for name, run_id in runs.items() if self._is_old_run(run_id)}
        states = await self._asked(("HGET", self._keys.run(each), "st") for each in runs.values())
        over = [name for name, st in zip(runs, states, strict=True) if st not in _RUNNING]
        if over and not self._dry_run:
            ids = [runs[name] for name in over]
            stored = await self._asked(("EXISTS", self._keys.record(each)) for each in ids)
            alone = [each for each, is_stored in zip(ids, stored, strict=True) if not is_stored]
            rest = [stem(each) for each in alone for stem in (self._keys.result, self._keys.log)]
            await self._client.unlink(*over, *rest)
        return len(over), len(runs) - len(over)

    async def _conversations(self, key: str, principal: str, ids: Sequence[str]) -> tuple[int, int]:
        async def remove(pipe: Any) -> tuple[int, int]:
            # Asked beside the watch, which breaks if a run begins meanwhile.
            idle, gone = await self._idle(principal, ids)
            pipe.multi()
            if not self._dry_run:
                for each in idle:
                    pipe.unlink(*self._of_conversation(each))
                if idle or gone:
                    pipe.zrem(key, *idle, *gone)
            return len(idle), len(ids) - len(idle) - len(gone)

        watched = [self._keys.conversation(each) for each in ids]
        removed, in_use = await self._client.transaction(remove, *watched, value_from_callable=True)
        return removed, in_use

    async def _idle(self, principal: str, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """Those in which nothing runs or waits, and those that are not there any more."""
        keys = self._keys
        heads = await self._asked(
            ("HMGET", keys.conversation(each), "principal", "run") for each in ids
        )
        waiting = await self._asked(("LLEN", keys.waiting(each)) for each in ids)
        current = [keys.run((run or b"").decode()) for _, run in heads]
        states = await self._asked(("HGET", each, "st") for each in current)
        idle, gone = [], []
        for each, (whose, _), st, count in zip(ids, heads, states, waiting, strict=True):
            if whose != principal.encode():
                gone.append(each)
            elif st not in _RUNNING and not count:
                idle.append(each)
        return idle, gone

    def _of_conversation(self, conversation: str) -> list[str]:
        keys = self._keys
        stems = (keys.conversation, keys.turns, keys.places, keys.about, keys.session, keys.waiting)
        return [stem(conversation) for stem in stems]

    async def _asked(self, commands: Iterable[Sequence[str]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        answers: list[Any] = await pipe.execute()
        return answers


def _tame(text: str) -> str:
    """A pattern of SCAN that matches this alone."""
    return _WILD.sub(r"\\\g<0>", text)
