"""Processes that stop without dying: zombies, a paused Redis, a Redis that is killed."""

import asyncio
import signal
from pathlib import Path

import pytest
import redis

from tests.chaos import logs
from tests.chaos.talk import ask_many, until
from tests.fakes.redis_server import RedisServer
from tests.fakes.system import System, upstream_agent

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(300)]

WORDS = 100
MODEL = f"slow-{WORDS}x20"
CONFIG = {"agents": {MODEL: upstream_agent(MODEL)}}


async def test_a_zombie_writes_nothing_after_its_runs_were_taken_over(tmp_path: Path) -> None:
    with System(tmp_path, CONFIG, apis=1, workers=1) as system, system.redis.client() as client:
        zombie = logs.worker_id(system.workers[0])
        streamed = asyncio.create_task(ask_many([system.base_url()], MODEL, 8))
        whole = asyncio.create_task(ask_many([system.base_url()], MODEL, 8, stream=False))
        await until(lambda: len(logs.held(client, zombie)) == 16)
        runs = logs.held(client, zombie)
        await until(lambda: all(any(logs.texts(client, run_id)) for run_id in runs))
        system.start_worker()
        await asyncio.to_thread(system.wait_ready)

        system.kill_worker(0, signal.SIGSTOP)
        await until(lambda: all(len(logs.attempts(client, run_id)) == 2 for run_id in runs))
        taken_over = {run_id: logs.attempts(client, run_id)[1] for run_id in runs}
        system.kill_worker(0, signal.SIGCONT)

        told = [*await streamed, *await whole]
        assert [each.verdict(WORDS) for each in told] == ["error"] * 8 + ["whole"] * 8
        assert {each.error["code"] for each in told if each.error} == {"worker_lost"}
        for run_id in runs:
            logs.assert_gapless(client, run_id)
            epochs = [entry.epoch for entry in logs.entries(client, run_id)]
            after = epochs[epochs.index(taken_over[run_id]) :]
            assert min(after) >= taken_over[run_id]
        # The zombie has understood, and works again.
        system.kill_worker(1, signal.SIGTERM)
        await asyncio.to_thread(system.workers[1].wait)
        again = await ask_many([system.base_url()], MODEL, 2)
        assert [each.verdict(WORDS) for each in again] == ["whole"] * 2


async def test_a_redis_that_pauses_for_longer_than_the_leases_moves_nothing(
    tmp_path: Path,
) -> None:
    with System(tmp_path, CONFIG, apis=2, workers=2) as system, system.redis.client() as client:
        urls = [system.base_url(0), system.base_url(1)]
        asked = asyncio.create_task(ask_many(urls, MODEL, 20))
        await until(lambda: len(_running(system, client)) == 20)
        runs = _running(system, client)
        await asyncio.sleep(1)
        system.redis.pause()
        await asyncio.sleep(3.5)
        system.redis.resume()
        told = await asked
        assert [each.verdict(WORDS) for each in told] == ["whole"] * 20
        assert [len(logs.attempts(client, run_id)) for run_id in runs] == [1] * 20


async def test_streams_go_on_over_a_redis_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    with (
        RedisServer("--appendfsync", "always", tcp=True, append_only=True) as server,
        System(tmp_path, CONFIG, apis=1, workers=1, redis=server) as system,
    ):
        asked = asyncio.create_task(ask_many([system.base_url()], MODEL, 10))
        with server.client() as client:
            await until(lambda: len(_running(system, client)) == 10)
        await asyncio.sleep(1)
        server.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(server.restart)
        told = await asked
        assert [each.verdict(WORDS) for each in told] == ["whole"] * 10


def _running(system: System, client: redis.Redis) -> list[str]:
    return [run_id for each in system.workers for run_id in logs.held(client, logs.worker_id(each))]
