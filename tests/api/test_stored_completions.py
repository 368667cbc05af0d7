"""Lists of stored completions, over a real Redis that holds more than a server makes in a test."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from trunkline_api.errors import ApiError
from trunkline_api.lookup import Lookup
from trunkline_api.render.completion import completion_id
from trunkline_api.stored_completions import StoredCompletions, Wanted
from trunkline_api.stored_runs import Record
from trunkline_shared.events import Finished, TextDelta
from trunkline_shared.fold import Fold, encode
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import new_run_id
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis
KEYS = Keys("lists")
BEGIN_MS = 1_700_000_000_000


class Bed:
    """Puts completions where `submit` and `finish` put them, a second from one to the next."""

    def __init__(self, redis: Any, pipe: Pipe) -> None:
        self.redis = redis
        self._pipe = pipe
        self._count = 0

    def store(self, vault: Vault, *, max_bytes: int = 1_000_000) -> StoredCompletions:
        lookup = Lookup(self._pipe, patience_s=5)
        return StoredCompletions(lookup, KEYS, vault, max_bytes=max_bytes, retention_s=3600)

    async def put(
        self, vault: Vault, *, ended: bool = True, text: str = "hello", **metadata: str
    ) -> str:
        self._count += 1
        store, run_id = self.store(vault), new_run_id(BEGIN_MS + 1000 * self._count)
        record = Record("ana", "echo", {"metadata": metadata}, kind="completion")
        await self.redis.set(KEYS.record(run_id), await store.seal(record))
        for key in (KEYS.completions("ana"), *map(KEYS.listed, store.lists(record).split())):
            await self.redis.zadd(key, {run_id: 0})
        if ended:
            fold = Fold()
            fold.add(1, [TextDelta(text), Finished("stop", at_ms=BEGIN_MS)])
            await self.redis.set(KEYS.result(run_id), vault.pack(encode(fold.result())))
        return run_id


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[Bed]:
    async with Redis.from_url(redis_url) as redis:
        scripts = Scripts.build(KEYS, CommonSettings(prefix="lists"))
        pipe = Pipe(redis, scripts, timeout_s=5, name="test")
        await pipe.start()
        yield Bed(redis, pipe)
        await pipe.aclose()


async def page(
    store: StoredCompletions, after: str | None = None, *, limit: int = 100, **wanted: Any
) -> tuple[list[str], bool]:
    found, has_more = await store.page(
        Wanted("ana", **wanted), after=after, limit=limit, order="asc"
    )
    return [each.run_id for each in found], has_more


async def test_what_has_not_ended_is_passed_over_and_what_is_gone_leaves_the_list(bed: Bed) -> None:
    vault = Vault("secret")
    made = [await bed.put(vault, ended=number % 2 > 0, a="b") for number in range(10)]
    await bed.redis.delete(KEYS.record(made[1]), KEYS.result(made[1]))
    store = bed.store(vault)
    listed = KEYS.listed(vault.marks(b'["ana","metadata","a","b"]')[0])
    for wanted in ({"metadata": {"a": "b"}}, {}):
        assert await page(store, limit=3, **wanted) == ([made[3], made[5], made[7]], True)
        assert await page(store, made[7], limit=3, **wanted) == ([made[9]], False)
        assert await bed.redis.zscore(listed, made[1]) is None
    assert await bed.redis.zcard(listed) == await bed.redis.zcard(KEYS.completions("ana")) == 9


async def test_several_filters_find_the_few_among_many_that_have_all(bed: Bed) -> None:
    vault = Vault("secret")
    store, both = bed.store(vault), []
    for number in range(1, 1201):
        run_id = await bed.put(vault, ended=number % 300 == 0, a=str(number % 2), b="x")
        if number % 300 == 0:
            both.append(run_id)
    wanted = {"metadata": {"a": "0", "b": "x"}, "model": "echo"}
    assert await page(store, limit=4, **wanted) == (both, False)
    assert await page(store, limit=3, **wanted) == (both[:3], True)
    assert await page(store, both[1], **wanted) == (both[2:], False)
    assert await page(store, metadata={"a": "2", "b": "x"}) == ([], False)


async def test_after_a_rotation_lists_have_what_either_key_sealed(bed: Bed) -> None:
    old, new = Vault("old"), Vault("new", ["old"])
    first, second, third = [await bed.put(vault, a="b") for vault in (old, new, old)]
    for wanted in ({}, {"model": "echo"}, {"model": "echo", "metadata": {"a": "b"}}):
        assert await page(bed.store(new), **wanted) == ([first, second, third], False)
    assert await page(bed.store(Vault("new"))) == ([second], False)
    assert await page(bed.store(Vault("new")), model="echo") == ([second], False)
    with pytest.raises(ApiError) as caught:
        await bed.store(Vault("new")).get(completion_id(first), "ana")
    assert caught.value.status == 500


async def test_a_page_that_would_take_too_many_bytes_ends_early(bed: Bed) -> None:
    vault = Vault(None)
    made = [await bed.put(vault, text="x" * 70_000) for _ in range(5)]
    store = bed.store(vault, max_bytes=150_000)
    assert await page(store) == (made[:2], True)
    assert await page(store, made[1]) == (made[2:4], True)
    assert await page(store, made[3]) == (made[4:], False)
    assert await page(bed.store(vault, max_bytes=1)) == (made[:1], True)


async def test_metadata_that_are_changed_move_it_to_other_lists(bed: Bed) -> None:
    old, new = Vault("old"), Vault("new", ["old"])
    run_id = await bed.put(old, a="b", c="d")
    await bed.redis.expire(KEYS.record(run_id), 1000)
    store = bed.store(new)
    await store.change(await store.get(completion_id(run_id), "ana"), {"c": "d", "e": "f"})
    assert await page(store, metadata={"a": "b"}) == ([], False)
    for pair in ({"c": "d"}, {"e": "f"}):
        assert await page(store, metadata=pair, model="echo") == ([run_id], False)
    assert 0 < await bed.redis.ttl(KEYS.record(run_id)) <= 1000
    listed = KEYS.listed(new.marks(b'["ana","metadata","e","f"]')[0])
    assert 0 < await bed.redis.ttl(listed) <= 3600
    await bed.redis.zadd(listed, {new_run_id(BEGIN_MS): 0})  # whose record is gone
    await store.change(await store.get(completion_id(run_id), "ana"), {"e": "f"})
    assert await bed.redis.zrange(listed, 0, -1) == [run_id.encode()]


async def test_what_is_gone_when_it_is_changed_stays_gone(bed: Bed) -> None:
    vault = Vault("secret")
    store, run_id = bed.store(vault), await bed.put(vault, a="b")
    found = await store.get(completion_id(run_id), "ana")
    await store.forget(found)
    with pytest.raises(ApiError) as caught:
        await store.change(found, {"a": "c"})
    assert (caught.value.status, caught.value.code) == (404, "completion_not_found")
    assert [key async for key in bed.redis.scan_iter()] == []
