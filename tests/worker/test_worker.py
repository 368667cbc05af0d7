import asyncio
from collections.abc import AsyncIterator
from signal import SIGTERM
from typing import Any

import pytest
from arq import worker as arq_worker

from tests.contract.script_bed import POOL, PREFIX, Bed
from tests.patience import PATIENCE_S, until
from tests.worker.fake_run import ScriptedBackend
from trunkline_shared.connection import make_redis
from trunkline_shared.events import Finished, TextDelta
from trunkline_worker import worker as worker_module
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import Worker, run

pytestmark = pytest.mark.redis
END = [TextDelta("a"), Finished("stop")]


class OneAgent(ScriptedBackend):
    """The backends of a worker that has one."""

    runnable = ("agent",)


class Bench:
    def __init__(self, url: str) -> None:
        self.settings = WorkerSettings(redis_url=url, prefix=PREFIX, drain_s=0.2)
        self.client = make_redis(self.settings, socket_timeout=None, health_check_interval=0)
        self.bed = Bed(self.client)
        self.go = asyncio.Event()
        self.backend = OneAgent(self.go, END)
        self.worker = Worker(self.settings, self.client, self.backend, handle_signals=False)
        self.task: asyncio.Task[Any]

    async def start(self) -> None:
        await self.bed.load()
        self.task = asyncio.create_task(self.worker.async_run())
        async with asyncio.timeout(PATIENCE_S):
            seen = self.bed.keys.workers(POOL)
            name = self.worker.worker_id
            while await self.client.zscore(seen, name) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.task


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url)
    await bench.start()
    yield bench
    bench.go.set()
    if not bench.task.done():
        bench.worker.handle_sig(SIGTERM)
        await bench.end()
    await bench.client.aclose()


async def test_it_is_an_arq_worker_that_leaves_no_trace_of_itself(bench: Bench) -> None:
    assert isinstance(bench.worker, arq_worker.Worker)
    assert await bench.client.exists(bench.bed.keys.lease(bench.worker.worker_id))
    bench.worker.handle_sig(SIGTERM)
    await bench.end()
    assert not await bench.client.exists(bench.bed.keys.lease(bench.worker.worker_id))
    assert await bench.client.zcard(bench.bed.keys.workers(POOL)) == 0


async def test_a_cancel_reaches_a_run_over_the_control_channel(bench: Bench) -> None:
    run_id = await bench.bed.submit()
    await until(lambda: bench.backend.requests)
    assert await bench.bed.cancel(run_id) == "told"
    async with asyncio.timeout(PATIENCE_S):
        await bench.backend.closed.wait()
        while (await bench.bed.state(run_id))["st"] != "done":  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert (await bench.bed.state(run_id))["out"] == "cancelled"


async def test_what_is_no_run_id_makes_the_control_channel_not_deaf(bench: Bench) -> None:
    channel = bench.bed.keys.control(bench.worker.worker_id)
    assert await bench.client.publish(channel, b"\xff") == 1
    run_id = await bench.bed.submit()
    await until(lambda: bench.backend.requests)
    assert await bench.bed.cancel(run_id) == "told"
    async with asyncio.timeout(PATIENCE_S):
        await bench.backend.closed.wait()
    (_, listeners), *_ = await bench.client.pubsub_numsub(channel)
    assert listeners == 1


async def test_a_signal_ends_it_after_its_drain_and_hands_back_what_was_not_shown(
    bench: Bench,
) -> None:
    run_id = await bench.bed.submit()
    await until(lambda: bench.backend.requests)
    bench.worker.handle_sig(SIGTERM)
    await bench.end()
    assert (await bench.bed.state(run_id))["st"] == "queued"
    assert await bench.bed.queued() == [run_id]


async def test_what_belongs_to_long_runs_is_kept_from_expiring(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    assert worker_module.REFRESH_S == 60.0
    monkeypatch.setattr(worker_module, "REFRESH_S", 0.05)
    other = Bench(redis_url)
    await other.start()
    bench.worker.handle_sig(SIGTERM)
    await bench.end()
    run_id = await other.bed.submit()
    await until(lambda: other.backend.requests)
    named = other.bed.keys
    keys = [of(run_id) for of in (named.log, named.run, named.job, named.journal)]
    await other.client.rpush(named.journal(run_id), b"entry")
    for key in keys:
        await other.client.pexpire(key, 5_000)
    async with asyncio.timeout(PATIENCE_S):
        for key in keys:
            while await other.client.pttl(key) <= 5_000:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    other.go.set()
    other.worker.handle_sig(SIGTERM)
    await other.end()
    await other.client.aclose()


async def test_what_stock_arq_would_call_is_never_called() -> None:
    with pytest.raises(RuntimeError):
        await run({}, request={})
