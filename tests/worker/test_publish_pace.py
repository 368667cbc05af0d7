"""When what runs say is written: at once, together, or later."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.fakes.memory_redis import MemoryRedis
from tests.patience import until
from tests.worker.publish_bench import PublishBench, text_of
from trunkline_shared.events import Finished, TextDelta, ToolArgsDelta, ToolCallStart
from trunkline_worker.publish import CROWD, WINDOW_S


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.redis)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[PublishBench]:
    if request.param == "fake":
        client: Redis = MemoryRedis()
    else:
        client = Redis.from_url(request.getfixturevalue("redis_url"))
    bench = PublishBench(client)
    await bench.start()
    yield bench
    await bench.aclose()
    await client.aclose()


async def test_many_writes_without_memory_are_no_storm(bench: PublishBench) -> None:
    run, writer = await bench.open()
    calls = 0
    real = bench.pipe.call_then

    def refusing(then: Callable[[Any], None], script: Any, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        asyncio.get_running_loop().call_soon(then, [b"full"])

    bench.pipe.call_then = refusing  # type: ignore[method-assign]
    writer.emit([TextDelta("a")])
    await asyncio.sleep(0.6)
    assert calls <= 4
    bench.pipe.call_then = real  # type: ignore[method-assign]
    writer.emit([Finished("stop")])
    assert await writer.ended == "ok"
    assert text_of(await bench.said(run)) == "a"


class Counted:
    """Counts the calls that a publisher makes of a pipe."""

    def __init__(self, bench: PublishBench) -> None:
        self.names: list[str] = []
        self._call = bench.pipe.call_then
        bench.pipe.call_then = self  # type: ignore[method-assign]

    def __call__(self, then: Callable[[Any], None], script: Any, *arguments: Any) -> None:
        self.names.append(script)
        self._call(then, script, *arguments)


async def test_the_writes_of_a_crowd_are_spaced_and_what_is_urgent_is_not(
    bench: PublishBench,
) -> None:
    runs = [await bench.open() for _ in range(CROWD)]
    counted, loop = Counted(bench), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(100):
        for _, writer in runs:
            writer.emit([TextDelta("x")])
        await asyncio.sleep(0.001)
    assert len(counted.names) <= (loop.time() - began) / WINDOW_S + 2
    for _, writer in runs:
        writer.emit([Finished("stop")])
    await asyncio.sleep(0)
    assert counted.names[-1] == "finish"
    assert {await writer.ended for _, writer in runs} == {"ok"}
    for run, _ in runs:
        assert text_of(await bench.said(run)) == "x" * 100


async def test_a_tool_call_is_urgent_wherever_it_stands_in_what_a_read_brought(
    bench: PublishBench,
) -> None:
    _, writer = await bench.open()
    writer.emit([TextDelta("x")])
    await asyncio.sleep(0)
    counted = Counted(bench)  # and the first write is still under way
    writer.emit([ToolCallStart(0, "call_1", "f"), ToolArgsDelta(0, "{")])
    await asyncio.sleep(0)
    assert counted.names == ["append"]


async def test_a_run_alone_is_not_held_back(bench: PublishBench) -> None:
    _, writer = await bench.open()
    counted = Counted(bench)
    for number in range(1, 6):
        writer.emit([TextDelta("x")])
        await asyncio.sleep(0)
        assert len(counted.names) == number
        await until(lambda: not writer.unacknowledged)
