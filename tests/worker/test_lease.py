import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from tests.contract.script_bed import POOL, PREFIX, Bed
from tests.fakes.redis_server import RedisServer
from tests.patience import until
from trunkline_shared.errors import StartError
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings
from trunkline_worker import lease as lease_module
from trunkline_worker.lease import LeaseKeeper, Renewal

pytestmark = pytest.mark.redis
TTL_MS = 900


class Bench:
    def __init__(self, url: str) -> None:
        self.bed = Bed(Redis.from_url(url))
        self.bed.scripts = Scripts.build(
            self.bed.keys, CommonSettings(prefix=PREFIX, lease_ttl_ms=TTL_MS)
        )
        self.url = url
        self.runs: list[tuple[str, int]] = []
        self.renewals: list[Renewal] = []
        self.valid_then: list[bool] = []
        self.keeper = self.make()

    def make(self) -> LeaseKeeper:
        return LeaseKeeper(
            redis.Redis.from_url(self.url, socket_timeout=TTL_MS / 1000),
            self.bed.scripts,
            worker_id="w",
            pools=(POOL,),
            agents=("agent",),
            ttl_ms=TTL_MS,
            known=lambda: [*self.runs],
            on_renewal=self._on_renewal,
        )

    def _on_renewal(self, renewal: Renewal) -> None:
        self.renewals.append(renewal)
        self.valid_then.append(self.keeper.valid)

    async def claim(self) -> str:
        """A run that this worker executes."""
        run_id = await self.bed.submit()
        (run,) = await self.bed.claim()
        self.runs.append((run_id, run.epoch))
        return run_id

    async def has_lease(self) -> bool:
        return bool(await self.bed.redis.exists(self.bed.keys.lease("w")))

    async def renewed(self, times: int = 1) -> None:
        goal = len(self.renewals) + times
        await until(lambda: len(self.renewals) >= goal)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def bench(server: RedisServer) -> AsyncIterator[Bench]:
    bench = Bench(server.url)
    await bench.bed.load()
    await bench.keeper.start()
    yield bench
    await bench.keeper.aclose()
    await bench.bed.redis.aclose()


async def test_a_lease_is_taken_and_lives_for_as_long_as_it_is_renewed(bench: Bench) -> None:
    assert bench.keeper.valid and await bench.has_lease()
    await bench.renewed(5)
    assert bench.keeper.valid and await bench.has_lease()
    await bench.keeper.gate()
    await bench.keeper.aclose()
    async with asyncio.timeout(20):
        while await bench.has_lease():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.02)
    assert not bench.keeper.valid


async def test_a_lease_that_somebody_has_cannot_be_taken(bench: Bench) -> None:
    other = bench.make()
    with pytest.raises(StartError):
        await other.start()
    await other.aclose()


async def test_a_renewal_tells_what_is_to_be_cancelled(bench: Bench) -> None:
    run_id = await bench.claim()
    await bench.bed.cancel(run_id)
    await until(lambda: bench.renewals and bench.renewals[-1].cancels == (run_id,))


async def test_a_renewal_lists_what_is_held_when_the_worker_knows_another_number(
    bench: Bench,
) -> None:
    run_id = await bench.claim()
    await bench.renewed(2)
    assert bench.renewals[-1].held is None
    bench.runs.clear()
    await until(lambda: bench.renewals[-1].held == frozenset([run_id]))


async def test_a_server_that_forgot_its_scripts_is_no_end(bench: Bench) -> None:
    await bench.bed.redis.script_flush()
    await bench.renewed(2)
    assert bench.keeper.valid


async def test_a_redis_that_stands_still_closes_the_gate_until_it_is_back(
    bench: Bench, server: RedisServer
) -> None:
    run_id = await bench.claim()
    await bench.renewed(2)
    server.pause()
    try:
        await until(lambda: not bench.keeper.valid)
        waiting = asyncio.create_task(bench.keeper.gate())
        await asyncio.sleep(TTL_MS / 1000)
        assert not waiting.done()
    finally:
        server.resume()
    async with asyncio.timeout(20):
        await waiting
    assert bench.keeper.valid
    # Nobody swept, so the run is still its own although the lease had expired.
    assert all(not renewal.lost for renewal in bench.renewals)
    assert (await bench.bed.state(run_id))["owner"] == "w"


async def test_runs_that_were_taken_over_are_dropped_before_the_gate_opens(
    bench: Bench, server: RedisServer
) -> None:
    taken, kept = await bench.claim(), await bench.claim()
    # What a sweep and another worker's end of the run leave behind. Were it done after the pause,
    # the lease could be back before it.
    await bench.bed.finish_for(taken)
    await bench.renewed(2)
    server.pause()
    await until(lambda: not bench.keeper.valid)
    server.resume()
    await until(lambda: any(renewal.lost for renewal in bench.renewals))
    (index,) = [i for i, renewal in enumerate(bench.renewals) if renewal.lost]
    assert bench.renewals[index].lost == {taken}
    assert bench.valid_then[index] is False
    await bench.keeper.gate()
    assert (await bench.bed.state(kept))["owner"] == "w"


async def test_a_busy_loop_is_not_a_death(bench: Bench) -> None:
    await bench.renewed()
    time.sleep(2.5 * TTL_MS / 1000)  # noqa: ASYNC251  # the loop stands still, as intended
    assert bench.keeper.valid and await bench.has_lease()


async def test_a_wedged_loop_is_one_and_recovers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lease_module.LOOP_STALL_S == 10.0
    monkeypatch.setattr(lease_module, "LOOP_STALL_S", TTL_MS / 1000)
    await bench.renewed()
    with redis.Redis.from_url(bench.url) as client:
        deadline = time.monotonic() + 20
        while client.exists(bench.bed.keys.lease("w")):
            assert time.monotonic() < deadline
            time.sleep(0.02)  # noqa: ASYNC251  # the loop stands still, as intended
    assert not bench.keeper.valid
    async with asyncio.timeout(20):
        await bench.keeper.gate()
    assert await bench.has_lease()


async def test_a_draining_worker_is_no_longer_counted(bench: Bench) -> None:
    workers: Any = bench.bed.keys.workers(POOL)
    assert await bench.bed.redis.zscore(workers, "w") is not None
    bench.keeper.drain()
    await bench.renewed(2)
    assert await bench.bed.redis.zscore(workers, "w") is None
    assert await bench.has_lease()
