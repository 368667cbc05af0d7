"""Cancels by name, of runs that a worker has: here each test is the worker."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.api.fake_gateway import CONFIG
from tests.api.tail_bed import TailBed, tail_bed
from tests.fakes.redis_server import RedisServer
from tests.patience import PATIENCE_S, until
from trunkline_api import tail as tail_module
from trunkline_api import watch as watch_module
from trunkline_api.errors import ApiError
from trunkline_api.gateway import Shutdown
from trunkline_api.runs import Runs
from trunkline_api.settings import ApiSettings
from trunkline_api.watch import Watch
from trunkline_shared.events import TextDelta

pytestmark = pytest.mark.redis
STATE = {"st": "running", "owner": "w", "epoch": 5, "pool": "p", "principal": "p", "attempt": 1}


@dataclass
class Bench:
    bed: TailBed
    watch: Watch

    async def run(self, name: str) -> None:
        await self.bed.create(name)
        await self.bed.redis.hset(self.bed.keys.run(name), mapping=STATE)

    async def end(self, name: str) -> None:
        await self.bed.redis.hset(self.bed.keys.run(name), "st", "done")
        await self.bed.add(name, 2, TextDelta("a"))

    async def told(self) -> set[bytes]:
        """What the owner is to cancel."""
        return {*await self.bed.redis.smembers(self.bed.keys.cancels("w"))}


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(tail_module, "BLOCK_S", 0.5)
    with RedisServer() as server:
        async with tail_bed(server.url) as bed:
            runs = Runs(ApiSettings(prefix="tail"), CONFIG, bed.keys, bed.pipe)
            watch = Watch(runs, bed.tail, bed.pipe, bed.lookup, bed.keys, Shutdown())
            yield Bench(bed, watch)
            await runs.aclose()


async def test_a_cancel_waits_for_the_end(bench: Bench) -> None:
    await bench.run("r")
    cancel = asyncio.create_task(bench.watch.cancel("r"))
    await until(lambda: bench.bed.tail._followed)
    assert await bench.told() == {b"r"} and not cancel.done()
    await bench.end("r")
    async with asyncio.timeout(PATIENCE_S):
        await cancel


async def test_a_cancel_reaches_the_owner_though_redis_is_full(bench: Bench) -> None:
    for name in ("quiet", "r"):
        await bench.run(name)
    async with bench.bed.tail.reading("quiet"):
        await until(lambda: bench.bed.blocking._inflight)
        await bench.bed.redis.config_set("maxmemory", 1)
        cancel = asyncio.create_task(bench.watch.cancel("r"))
        await until(lambda: len(bench.bed.tail._followed) > 1)
        assert await bench.told() == {b"r"}
        await bench.bed.redis.config_set("maxmemory", 0)
        await bench.end("r")
        async with asyncio.timeout(PATIENCE_S):
            await cancel


async def test_a_run_that_does_not_end_is_an_error_in_time_however_much_it_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "ENDS_S", 0.5)
    await bench.run("r")
    cancel = asyncio.create_task(bench.watch.cancel("r"))
    await until(lambda: bench.bed.tail._followed)
    for seq in (2, 3, 4):
        await bench.bed.add("r", seq, TextDelta("x" * 20_000))  # more than a reader takes
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(ApiError) as caught:
            await cancel
    assert caught.value.status == 503
    looks = await bench.bed.redis.info("commandstats")
    assert looks["cmdstat_hget"]["calls"] < 10


async def test_a_run_without_a_log_has_nothing_to_wait_for(bench: Bench) -> None:
    await bench.watch.cancel("r")
