"""kill -9 of workers, again and again, under load. CHAOS_KILLS sets how often."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
import redis

from tests.chaos import logs
from tests.chaos.talk import Told, ask
from tests.fakes.system import System, upstream_agent

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(900)]

KILLS = int(os.environ.get("CHAOS_KILLS", "15"))
STREAMS = 50
WORDS = 30
MODEL = f"slow-{WORDS}x20"
PROMISED_MS = 4000


async def test_every_request_ends_whole_or_with_an_error_while_workers_are_killed(
    tmp_path: Path,
) -> None:
    config = {"agents": {MODEL: upstream_agent(MODEL)}}
    with System(tmp_path, config, apis=2, workers=3) as system:
        with system.redis.client() as client:
            killing = asyncio.Event()
            killing.set()
            async with asyncio.TaskGroup() as tasks:
                clients = [
                    tasks.create_task(_ask_while(killing, system, streamed=number % 3 != 0))
                    for number in range(STREAMS)
                ]
                late = await _kill_again_and_again(system, client)
                killing.clear()
        told = [each for task in clients for each in task.result()]
    verdicts = Counter(each.verdict(WORDS) for each in told)
    codes = Counter(each.error["code"] for each in told if each.error)
    print(f"{KILLS} kills, {len(told)} requests: {dict(verdicts)} {dict(codes)}; late: {late}")
    assert set(verdicts) <= {"whole", "error"}
    assert set(codes) <= {"worker_lost"}
    assert verdicts["whole"] > 0
    assert not late


async def _ask_while(killing: asyncio.Event, system: System, *, streamed: bool) -> list[Told]:
    told = []
    async with aiohttp.ClientSession() as session:
        while killing.is_set():
            url = system.base_url(random.randrange(len(system.apis)))
            told.append(await ask(session, url, MODEL, stream=streamed))
    return told


async def _kill_again_and_again(system: System, client: redis.Redis) -> list[str]:
    """Runs whose next attempt came later than promised."""
    late: list[str] = []
    checks: list[asyncio.Task[list[str]]] = []
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.3, 1.5))
        alive = [index for index, worker in enumerate(system.workers) if worker.alive]
        victim = random.choice(alive)
        worker = logs.worker_id(system.workers[victim])
        system.kill_worker(victim)
        killed_at = logs.redis_ms(client)
        orphans = logs.held(client, worker)
        checks.append(asyncio.create_task(_late_runs(client, orphans, killed_at)))
        system.start_worker()
        await asyncio.to_thread(system.wait_ready)
    for check in checks:
        late += await check
    return late


async def _late_runs(client: redis.Redis, orphans: list[str], killed_at: int) -> list[str]:
    """Looks once, when the promised time has passed; suspects are exempt from it."""
    await asyncio.sleep(PROMISED_MS / 1000 + 1)
    late = []
    for run_id in orphans:
        logs.assert_gapless(client, run_id)
        after = [at for at in logs.attempts(client, run_id) if at >= killed_at]
        took = after[0] - killed_at if after else None
        exempt = logs.crashes(client, run_id) > 1 or _ended_before(client, run_id, killed_at)
        if not exempt and (took is None or took > PROMISED_MS):
            late.append(f"{run_id}: {took} ms")
    return late


def _ended_before(client: redis.Redis, run_id: str, killed_at: int) -> bool:
    """Its end was on its way when the worker died: no further attempt is due."""
    last = logs.entries(client, run_id)[-1]
    return last.epoch < killed_at and client.hget(logs.KEYS.run(run_id), "st") == b"done"
