"""Clients and API processes that leave: what nobody waits for is cancelled, down to the socket."""

import asyncio
import signal
import time
from pathlib import Path
from statistics import quantiles

import aiohttp
import pytest

from tests.chaos import logs
from tests.chaos.talk import ask_many, until
from tests.fakes.system import System, upstream_agent

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(300)]

MODEL = "slow-2000x20"
CONFIG = {"agents": {MODEL: upstream_agent(MODEL)}}
LEAVERS = 60
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "go"}]}


@pytest.mark.parametrize("stream", [True, False])
async def test_the_upstream_is_closed_soon_after_the_client_left(
    tmp_path: Path, stream: bool
) -> None:
    with System(tmp_path, CONFIG) as system:
        delays = []
        for count in range(1, LEAVERS + 1):
            left_at = await _ask_and_leave(system, stream=stream)
            await until(lambda count=count: len(system.upstream.closed()) == count)
            delays.append(system.upstream.closed()[-1]["at"] - left_at)
        p99_ms = quantiles(delays, n=100)[98] * 1000
        print(f"stream={stream}: upstream closed after p99 {p99_ms:.0f} ms of {LEAVERS}")
        assert p99_ms < 2000  # promised are 250; this machine may be busy


async def _ask_and_leave(system: System, *, stream: bool) -> float:
    """When the client hung up, in the middle of the answer."""
    open_before = len(system.upstream.requests())
    async with aiohttp.ClientSession() as session:
        url = f"{system.base_url()}/chat/completions"
        asked = asyncio.create_task(session.post(url, json={**BODY, "stream": stream}))
        await until(lambda: len(system.upstream.requests()) > open_before)
        if stream:
            reply = await asked
            await reply.content.readline()
            left_at = time.monotonic()
            reply.close()
        else:
            await asyncio.sleep(0.1)
            left_at = time.monotonic()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
    return left_at


async def test_the_runs_of_a_killed_api_process_are_cancelled_within_15_s(tmp_path: Path) -> None:
    with System(tmp_path, CONFIG, apis=2) as system, system.redis.client() as client:
        worker = logs.worker_id(system.workers[0])
        asked = asyncio.create_task(ask_many([system.base_url(0)], MODEL, 5))
        await until(lambda: len(logs.held(client, worker)) == 5)
        runs = logs.held(client, worker)
        await until(lambda: all(any(logs.texts(client, run_id)) for run_id in runs))
        killed_at = time.monotonic()
        system.kill_api(0)
        await asyncio.gather(asked, return_exceptions=True)
        await until(lambda: len(system.upstream.closed()) == 5, within_s=30)
        took_s = max(each["at"] for each in system.upstream.closed()) - killed_at
        print(f"runs of the killed API process were cancelled after {took_s:.1f} s")
        assert took_s < 15
        await until(lambda: not logs.held(client, worker))


async def test_a_worker_that_is_told_to_end_finishes_or_says_so(tmp_path: Path) -> None:
    short = "slow-20x20"
    config = {"agents": {name: upstream_agent(name) for name in (MODEL, short)}}
    settings = {"drain_s": 3}
    with System(tmp_path, config, settings=settings) as system, system.redis.client() as client:
        worker = logs.worker_id(system.workers[0])
        urls = [system.base_url()]
        finishing = asyncio.create_task(ask_many(urls, short, 5))
        cut = asyncio.create_task(ask_many(urls, MODEL, 5))
        handed_on = asyncio.create_task(ask_many(urls, MODEL, 2, stream=False))
        await until(lambda: len(logs.held(client, worker)) == 12)
        runs = logs.held(client, worker)
        await until(lambda: all(any(logs.texts(client, run_id)) for run_id in runs))
        system.kill_worker(0, signal.SIGTERM)
        assert [each.verdict(20) for each in await finishing] == ["whole"] * 5
        told = await cut
        assert {each.error["code"] for each in told if each.error} == {"worker_draining"}
        assert [each.verdict(2000) for each in told] == ["error"] * 5
        assert await asyncio.to_thread(system.workers[0].wait) == 0
        queue = {run_id.decode() for run_id in client.zrange(logs.KEYS.queue("default"), 0, -1)}
        assert len(queue) == 2
        handed_on.cancel()
        await asyncio.gather(handed_on, return_exceptions=True)
