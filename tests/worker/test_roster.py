"""Agents that come and go while a worker runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.script_bed import POOL, PREFIX, Bed
from tests.patience import PATIENCE_S, until
from tests.worker.backends.driving import request
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.connection import make_redis
from trunkline_shared.errors import ConfigError, RedisUnavailable
from trunkline_shared.profile import PROFILE_AGENT
from trunkline_worker.backends.base import Backend, Unavailable
from trunkline_worker.roster import Roster
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import open_worker

pytestmark = pytest.mark.redis


class Bench:
    """A worker without agents; the queue's side of it is `bed`."""

    def __init__(self, url: str) -> None:
        self.settings = WorkerSettings(
            redis_url=url, prefix=PREFIX, pool=(POOL,), drain_s=0.1, redis_timeout_s=1.0
        )
        self.bed = Bed(make_redis(self.settings))
        self.roster: Roster
        self.worker: Any
        self.backends: Any

    async def announced(self) -> set[str]:
        key = self.bed.keys.agents(self.worker.worker_id)
        return {name.decode() for name in await self.bed.redis.smembers(key)} - {PROFILE_AGENT}

    @property
    def backend(self) -> Backend:
        """The agent's. Raises Unavailable."""
        found: Backend = self.backends.get(request(agent="agent"))
        return found


def agent(name: str = "agent", **more: Any) -> AgentConfig:
    return AgentConfig.model_validate({"name": name, "model": "echo", "pool": POOL, **more})


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_url)
    await bench.bed.load()
    config = Config(path="", agents={})
    async with open_worker(bench.settings, config, {}, handle_signals=False) as opened:
        bench.worker, bench.backends = opened
        task = asyncio.create_task(bench.worker.async_run())
        await bench.worker.ready.wait()
        bench.roster = Roster(bench.worker, bench.backends, bench.settings)
        yield bench
        await bench.roster.aclose()
        bench.worker.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task
    await bench.bed.redis.aclose()


async def test_an_agent_is_announced_when_it_is_added_and_not_after_its_removal(
    bench: Bench,
) -> None:
    assert await bench.roster.add(agent()) == ()
    assert await bench.announced() == {"agent"}
    await bench.roster.remove("agent")
    assert await bench.announced() == set()
    await until(lambda: not bench.backends._withdrawn)
    with pytest.raises(Unavailable):
        _ = bench.backend


async def test_what_it_lacks_is_told_and_it_is_not_announced(bench: Bench) -> None:
    lacking = await bench.roster.add(agent(model="openai:gpt-4"))
    assert lacking == ("OPENAI_API_KEY is not set",)
    assert await bench.announced() == set()
    await bench.roster.remove("agent")


async def test_a_backend_stays_until_the_last_run_of_it_has_ended(bench: Bench) -> None:
    await bench.roster.add(agent(echo={"words": 8, "words_per_second": 20}))
    backend = bench.backend
    run_id = await bench.bed.submit()
    await until(lambda: bench.worker.dispatch.executions)
    await bench.roster.remove("agent")
    await bench.roster.add(agent())
    assert bench.backend is not backend
    assert backend in bench.backends._withdrawn
    await until(lambda: backend not in bench.backends._withdrawn)
    assert not bench.worker.dispatch.executions
    assert (await bench.bed.state(run_id))["out"] == "finished"
    assert bench.backends.runnable == ("agent", PROFILE_AGENT)


async def test_an_agent_of_another_pool_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"^agents\.agent\.pool: this worker serves .*'other'"):
        await bench.roster.add(agent(pool="other"))


async def test_without_redis_nothing_is_added(bench: Bench) -> None:
    await bench.worker.calls.aclose()
    with pytest.raises(RedisUnavailable):
        await bench.roster.add(agent())
    assert bench.backends.runnable == (PROFILE_AGENT,)
    await bench.roster.remove("agent")  # what cannot be told is no error: nobody may call it
