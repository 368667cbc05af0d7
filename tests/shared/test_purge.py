"""What is purged of stored responses, completions and conversations, and what is left."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.contract.script_bed import HOUR_MS, Bed, now_ms
from trunkline_shared.events import Finished
from trunkline_shared.purge import Count, Purge
from trunkline_shared.run import new_run_id
from trunkline_shared.settings import STORED, StoredKind

pytestmark = pytest.mark.redis
MARK = "0" * 32


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[Bed]:
    bed = Bed(Redis.from_url(redis_url))
    await bed.load()
    await bed.renew()
    yield bed
    await bed.redis.aclose()


async def stored(bed: Bed, *, principal: str = "ana", age_ms: int = 0, lists: str = "") -> str:
    """A run that has ended, with its result."""
    run_id = await bed.submit(
        new_run_id(now_ms() - age_ms), principal=principal, record=b"asked", lists=lists
    )
    (run,) = await bed.claim()
    assert await bed.finish(run, 3, Finished("stop"), result=b"{}") == "ok"
    return run_id


async def turn(bed: Bed, conversation: str, principal: str = "ana") -> None:
    await bed.submit(conversation=conversation, principal=principal)
    (run,) = await bed.claim()
    assert await bed.finish(run, 3, Finished("stop"), turn=b"{}") == "ok"


async def purged(bed: Bed, principal: str = "ana", **how: object) -> dict[str, tuple[int, int]]:
    purge = Purge(bed.redis, bed.keys, **how)  # type: ignore[arg-type]
    counts = {kind: await purge.remove(kind, principal) for kind in STORED}
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
    }
    assert await keys_with(bed, *gone, "c1", ":ana") == []
    for run_id in kept:
        assert await bed.redis.exists(bed.keys.record(run_id), bed.keys.result(run_id)) == 2
    assert await bed.redis.llen(bed.keys.turns("c2")) == 1
    assert await purged(bed, "nobody") == dict.fromkeys(STORED, (0, 0))


async def test_a_dry_run_counts_the_same_and_removes_nothing(bed: Bed) -> None:
    for _ in range(3):
        await stored(bed)
    await stored(bed, lists=MARK)
    await turn(bed, "c")
    before = {key async for key in bed.redis.scan_iter()}
    counted = await purged(bed, dry_run=True)
    assert {key async for key in bed.redis.scan_iter()} == before
    assert counted == await purged(bed)
    assert counted == {"responses": (3, 0), "completions": (1, 0), "conversations": (1, 0)}


async def test_only_what_is_old_enough_goes(bed: Bed) -> None:
    old, new = await stored(bed, age_ms=2 * HOUR_MS), await stored(bed)
    await turn(bed, "old")
    await turn(bed, "new")
    await bed.redis.zadd(bed.keys.conversations("ana"), {"old": now_ms() - 2 * HOUR_MS})
    assert await purged(bed, before_ms=now_ms() - HOUR_MS) == {
        "responses": (1, 0),
        "completions": (0, 0),
        "conversations": (1, 0),
    }
    assert await keys_with(bed, old, "old") == []
    assert await bed.redis.exists(bed.keys.result(new), bed.keys.turns("new")) == 2


async def test_what_runs_or_waits_is_left_with_its_conversation(bed: Bed) -> None:
    for lists in ("", MARK):
        await bed.submit(principal="ana", record=b"asked", lists=lists)
    await bed.claim(free=1)
    await turn_begun(bed, "busy")
    in_use = {"responses": (0, 1), "completions": (0, 1), "conversations": (0, 1)}
    assert await purged(bed) == in_use
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
    assert await purged(bed) == dict.fromkeys(STORED, (0, 0))
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
