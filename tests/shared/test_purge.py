"""What is purged of stored responses, completions and conversations, and what is left."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.contract.script_bed import HOUR_MS, Bed, now_ms
from trunkline_shared.events import Finished
from trunkline_shared.purge import PURGED, Count, Purge, PurgedKind
from trunkline_shared.run import new_run_id
from trunkline_shared.settings import StoredKind

pytestmark = pytest.mark.redis
MARK = "0" * 32


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[Bed]:
    bed = Bed(Redis.from_url(redis_url))
    await bed.load()
    await bed.renew()
    yield bed
    await bed.redis.aclose()


async def stored(
    bed: Bed, *, principal: str = "ana", age_ms: int = 0, record: bytes = b"asked", **wanted: Any
) -> str:
    """A run that has ended, with its result."""
    run_id = await bed.submit(
        new_run_id(now_ms() - age_ms), principal=principal, record=record, **wanted
    )
    (run,) = await bed.claim()
    assert await bed.finish(run, 3, Finished("stop"), result=b"{}") == "ok"
    return run_id


def under(key: str, principal: str = "ana") -> dict[str, Any]:
    """What `stored` is to be given for a run under an Idempotency-Key."""
    name = f"{principal}:{key}"
    named = ("idem", name, "idem_body", "digest", "idem_ms", HOUR_MS)
    return {"named": named, "principal": principal}


async def turn(bed: Bed, conversation: str, principal: str = "ana") -> None:
    await bed.submit(conversation=conversation, principal=principal)
    (run,) = await bed.claim()
    assert await bed.finish(run, 3, Finished("stop"), turn=b"{}") == "ok"


async def purged(bed: Bed, principal: str = "ana", **how: object) -> dict[str, tuple[int, int]]:
    purge = Purge(bed.redis, bed.keys, **how)  # type: ignore[arg-type]
    counts = {kind: await purge.remove(kind, principal) for kind in PURGED}
    return {kind: (each.removed, each.in_use) for kind, each in counts.items()}


async def keys_with(bed: Bed, *ids: str) -> list[str]:
    names = [key.decode() async for key in bed.redis.scan_iter()]
    return [name for name in names if name.endswith(ids) and ":run:" not in name]


async def test_all_of_one_principal_goes_and_nothing_of_others(bed: Bed) -> None:
    gone = [await stored(bed), await stored(bed, lists=MARK)]
    await turn(bed, "c1")
    kept = [await stored(bed, principal="bob"), await stored(bed, principal="bob", lists=MARK)]
    await turn(bed, "c2", "bob")
    assert await purged(bed) == {
        "responses": (1, 0),
        "completions": (1, 0),
        "conversations": (1, 0),
        "idempotency": (0, 0),
    }
    assert await keys_with(bed, *gone, "c1", ":ana") == []
    for run_id in kept:
        assert await bed.redis.exists(bed.keys.record(run_id), bed.keys.result(run_id)) == 2
    assert await bed.redis.llen(bed.keys.turns("c2")) == 1
    assert await purged(bed, "nobody") == dict.fromkeys(PURGED, (0, 0))


async def test_a_dry_run_counts_the_same_and_removes_nothing(bed: Bed) -> None:
    for _ in range(3):
        await stored(bed)
    await stored(bed, lists=MARK)
    await stored(bed, record=b"", **under("key"))
    await turn(bed, "c")
    before = {key async for key in bed.redis.scan_iter()}
    counted = await purged(bed, dry_run=True)
    assert {key async for key in bed.redis.scan_iter()} == before
    assert counted == await purged(bed)
    assert [*counted.values()] == [(3, 0), (1, 0), (1, 0), (1, 0)]


async def test_only_what_is_old_enough_goes(bed: Bed) -> None:
    old, new = await stored(bed, age_ms=2 * HOUR_MS), await stored(bed)
    await turn(bed, "old")
    await turn(bed, "new")
    await bed.redis.zadd(bed.keys.conversations("ana"), {"old": now_ms() - 2 * HOUR_MS})
    assert await purged(bed, before_ms=now_ms() - HOUR_MS) == {
        "responses": (1, 0),
        "completions": (0, 0),
        "conversations": (1, 0),
        "idempotency": (0, 0),
    }
    assert await keys_with(bed, old, "old") == []
    assert await bed.redis.exists(bed.keys.result(new), bed.keys.turns("new")) == 2


async def test_what_runs_or_waits_is_left_with_its_conversation(bed: Bed) -> None:
    for lists in ("", MARK):
        await bed.submit(principal="ana", record=b"asked", lists=lists)
    await bed.claim(free=1)
    await turn_begun(bed, "busy")
    await bed.submit(**under("key"))
    assert await purged(bed) == dict.fromkeys(PURGED, (0, 1))
    for run in await bed.claim():
        await bed.finish(run, 3, Finished("stop"), result=b"{}", turn=b"{}")
    assert await bed.redis.llen(bed.keys.turns("busy")) == 1


async def turn_begun(bed: Bed, conversation: str) -> None:
    """One run has the turn, another waits for it."""
    for _ in range(2):
        await bed.submit(conversation=conversation, principal="ana")


async def test_what_is_gone_already_does_not_count(bed: Bed) -> None:
    run_id = await stored(bed)
    await turn(bed, "c")
    await bed.redis.delete(bed.keys.record(run_id), bed.keys.conversation("c"))
    assert await purged(bed) == dict.fromkeys(PURGED, (0, 0))
    assert not await bed.redis.exists(bed.keys.responses("ana"), bed.keys.conversations("ana"))


@pytest.mark.parametrize("kind", ["responses", "conversations"])
async def test_many_go_in_steps(bed: Bed, kind: StoredKind) -> None:
    count = 350
    for number in range(count):
        if kind == "responses":
            run_id = new_run_id()
            await bed.redis.set(bed.keys.record(run_id), b"asked")
            await bed.redis.zadd(bed.keys.responses("ana"), {run_id: 0})
        else:
            await bed.redis.hset(bed.keys.conversation(f"c{number}"), "principal", "ana")
            await bed.redis.zadd(bed.keys.conversations("ana"), {f"c{number}": number})
    purge = Purge(bed.redis, bed.keys)
    assert await purge.principals(kind) == ["ana"]
    assert await purge.remove(kind, "ana") == Count(count, 0)
    assert await purge.principals(kind) == []


async def test_keys_of_idempotency_go_with_what_they_alone_keep(bed: Bed) -> None:
    old = await stored(bed, record=b"", age_ms=2 * HOUR_MS, **under("old"))
    new, response = [
        await stored(bed, record=record, **under(key))
        for key, record in (("new", b""), ("response", b"asked"))
    ]
    others = [await stored(bed, record=b"", **under("k", name)) for name in ("bob", "ana:b", "a?a")]
    keys, result = bed.keys, bed.keys.result
    purge = Purge(bed.redis, keys, before_ms=now_ms() - HOUR_MS)
    assert await purge.remove("idempotency", "ana") == Count(1, 0)
    assert not await bed.redis.exists(keys.idem("ana:old"), result(old), keys.log(old))
    assert await bed.redis.exists(keys.idem("ana:new"), result(new)) == 2
    purge = Purge(bed.redis, keys)
    assert await purge.remove("idempotency", "ana") == Count(2, 0)
    assert not await bed.redis.exists(keys.idem("ana:new"), result(new))
    assert not await bed.redis.exists(keys.idem("ana:response"))
    assert await bed.redis.exists(result(response), *map(result, others)) == 4
    assert await purge.remove("idempotency", "a?a") == Count(1, 0)
    assert await purge.remove("idempotency", "") == Count(0, 0)
    assert await purge.remove("idempotency", None) == Count(2, 0)


@pytest.mark.parametrize("kind", PURGED)
async def test_nobody_is_not_everybody(bed: Bed, kind: PurgedKind) -> None:
    await stored(bed, **under("key"))
    await stored(bed, lists=MARK)
    await turn(bed, "c")
    purge = Purge(bed.redis, bed.keys)
    assert await purge.remove(kind, "") == Count(0, 0)
    assert await purge.remove(kind, None) == Count(1, 0)
