"""Runs under an Idempotency-Key while processes end around them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.chaos import logs
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.caller import REPLAYED, RESPONSES, Caller, frames
from tests.flow.stage import request
from tests.patience import until

pytestmark = pytest.mark.redis
SLOW = "slow-60x50"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("crashes")
    config = {"agents": {SLOW: upstream_agent(SLOW), "busy": upstream_agent("hang", pool="busy")}}
    settings = {"queue_timeout_s": 1, "headers_after_s": 30, "log_kept_s": 1}
    settings["idempotency_retention_s"] = 5
    with System(directory, config, apis=3, workers=2, settings=settings) as system:
        yield system


@pytest.fixture
async def caller(system: System) -> AsyncIterator[Caller]:
    caller = Caller(system, "nobody")
    yield caller
    await caller.aclose()


def run_of(system: System) -> str:
    """The one run that a worker has."""
    with system.redis.client() as redis:
        held = [run for p in system.workers for run in logs.held(redis, logs.worker_id(p))]
    return held[0] if held else ""


@pytest.mark.parametrize(("api", "end"), [(1, signal.SIGKILL), (2, signal.SIGTERM)])
async def test_it_goes_on_when_the_api_process_that_submitted_it_ends(
    system: System, caller: Caller, api: int, end: signal.Signals
) -> None:
    body = request("hi", SLOW, stream=True)
    before = len(system.upstream.requests())
    first = asyncio.create_task(caller.post(body, api=api))
    await until(lambda: run_of(system))
    run_id = run_of(system)
    system.kill_api(api, end)
    again = await caller.post(body)
    assert again.headers[REPLAYED] == "true" and run_id in again.text
    assert all(word in again.text for word in words(60).split())
    await asyncio.gather(first, return_exceptions=True)
    assert len(system.upstream.requests()) == before + 1


async def test_a_whole_reply_is_begun_anew_in_silence_when_its_worker_dies(
    system: System, caller: Caller
) -> None:
    body = request("hi", SLOW)
    replies = [asyncio.create_task(caller.post(body)) for _ in range(2)]
    _kill_owner(system, await _shown(system))
    for reply in await asyncio.gather(*replies):
        assert reply.json()["choices"][0]["message"]["content"] == words(60)


async def test_a_stream_tells_all_the_same_when_its_worker_dies(
    system: System, caller: Caller
) -> None:
    body = {"model": SLOW, "input": "hi", "stream": True}
    replies = [asyncio.create_task(caller.post(body, path=RESPONSES)) for _ in range(2)]
    _kill_owner(system, await _shown(system))
    first, second = [frames(reply) for reply in await asyncio.gather(*replies)]
    assert first == second and b"response.completed" in first[-1]
    assert b'"status":"incomplete"' in first[-1]


async def test_a_run_that_no_worker_began_is_not_what_the_key_stands_for(
    system: System, caller: Caller
) -> None:
    worker = system.start_worker("--pool", "busy", "--slots", "1")
    await until(lambda: "worker ready" in worker.logged())
    other = Caller(system, "nobody")
    holding = asyncio.create_task(other.post(request("hi", "busy")))
    await until(lambda: run_of(system))
    body = request("hi", "busy", stream=True)
    refused = await asyncio.gather(*(caller.post(body) for _ in range(2)))
    for each in refused:
        assert (each.status_code, each.json()["error"]["code"]) == (503, "queue_timeout")
        assert "x-should-retry" not in each.headers
    assert REPLAYED not in (await caller.post(body)).headers
    holding.cancel()
    await asyncio.gather(holding, return_exceptions=True)
    await other.aclose()


async def test_the_result_is_told_when_the_events_are_gone_and_then_forgotten(
    system: System, caller: Caller
) -> None:
    body = {"model": SLOW, "input": "hi", "stream": True, "store": False}
    first = await caller.post(body, path=RESPONSES)
    run_id = first.text.split("resp_")[1][:28]

    def is_there(key: str) -> Any:
        with system.redis.client() as redis:
            return redis.exists(key)

    await until(lambda: not is_there(logs.KEYS.log(run_id)))
    later = await caller.post(body, path=RESPONSES)
    assert later.headers[REPLAYED] == "true"
    assert later.text.count("response.output_text.delta") == 2  # in the event's name and its type
    assert _last(later)["response"] == _last(first)["response"]
    await until(lambda: not is_there(logs.KEYS.result(run_id)))
    anew = await caller.post(body, path=RESPONSES)
    assert REPLAYED not in anew.headers and run_id not in anew.text


def _last(reply: httpx.Response) -> Any:
    return httpx.Response(200, content=frames(reply)[-1].split(b"data: ")[1]).json()


async def _shown(system: System) -> str:
    """The run, once some of it is in its log."""
    with system.redis.client() as redis:
        await until(lambda: run_of(system) and len([*logs.texts(redis, run_of(system))]) > 3)
    return run_of(system)


def _kill_owner(system: System, run_id: str) -> None:
    with system.redis.client() as redis:
        owner = redis.hget(logs.KEYS.run(run_id), "owner").decode()
    system.kill_worker([logs.worker_id(each) for each in system.workers].index(owner))
    system.start_worker()
