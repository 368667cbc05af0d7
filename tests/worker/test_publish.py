import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.fakes.memory_redis import MemoryRedis
from tests.fakes.redis_server import RedisServer
from tests.patience import until
from tests.worker.publish_bench import PublishBench, text_of
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import Failed, Finished, RunEvent, TextDelta, ToolArgsDelta
from trunkline_worker.run_writer import RunBufferFull


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


@pytest.fixture
async def own(request: pytest.FixtureRequest) -> AsyncIterator[tuple[PublishBench, RedisServer]]:
    """A bench with a server of its own, to be treated badly."""
    with RedisServer() as server:
        client: Redis = Redis.from_url(server.url)
        bench = PublishBench(client)
        await bench.start()
        yield bench, server
        await bench.aclose()
        await client.aclose()


async def test_what_a_run_says_is_in_its_log_in_order_and_once(bench: PublishBench) -> None:
    run, writer = await bench.open()
    for number in range(200):
        writer.emit([TextDelta(f"{number} ")])
        if number % 9 == 0:
            await asyncio.sleep(0)
    writer.emit([Finished("stop")])
    assert await writer.ended == "ok"
    events = await bench.said(run)
    assert text_of(events) == "".join(f"{number} " for number in range(200))
    assert events[-1] == Finished("stop")
    assert writer.unacknowledged == 0


async def test_what_gathers_while_a_write_is_under_way_leaves_in_one_frame(
    bench: PublishBench,
) -> None:
    run, writer = await bench.open()
    writer.emit([TextDelta("first")])
    for _ in range(100):
        writer.emit([TextDelta("x")])
    writer.emit([Finished("stop")])
    await writer.ended
    assert len(await bench.bed.log(run.run_id)) <= 2 + 2


async def test_the_first_output_leaves_at_once(bench: PublishBench) -> None:
    run, writer = await bench.open()
    assert not writer.has_output
    writer.emit([TextDelta("first")])
    assert writer.has_output
    async with asyncio.timeout(20):
        while not await bench.said(run):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.001)


async def test_a_run_has_one_end(bench: PublishBench) -> None:
    run, writer = await bench.open()
    writer.emit([TextDelta("a"), Finished("stop")])
    writer.emit([Failed("cancelled", "too late")])
    writer.emit([TextDelta("later still")])
    assert await writer.ended == "ok"
    assert await bench.said(run) == [TextDelta("a"), Finished("stop")]


async def test_a_closed_writer_says_nothing_more(bench: PublishBench) -> None:
    run, writer = await bench.open()
    writer.emit([TextDelta("a")])
    writer.close()
    writer.emit([TextDelta("b")])
    other, second = await bench.open()
    second.emit([Finished("stop")])
    await second.ended
    assert await bench.said(run) == []
    assert await bench.said(other) == [Finished("stop")]


async def test_a_fenced_run_is_lost_and_the_others_go_on(bench: PublishBench) -> None:
    fenced, writer = await bench.open()
    fine, second = await bench.open()
    await bench.bed.finish_for(fenced.run_id)
    writer.emit([TextDelta("a")])
    second.emit([TextDelta("a")])
    await until(lambda: bench.lost)
    assert bench.lost == [(fenced.run_id, "fenced")]
    second.emit([Finished("stop")])
    assert await second.ended == "ok"
    assert text_of(await bench.said(fine)) == "a"


async def test_a_run_whose_log_is_gone_is_lost(bench: PublishBench) -> None:
    run, writer = await bench.open()
    await bench.bed.redis.delete(bench.bed.keys.log(run.run_id))
    writer.emit([TextDelta("a")])
    await until(lambda: bench.lost)
    assert bench.lost == [(run.run_id, "gone")]


async def test_an_end_that_is_fenced_is_told_to_the_one_who_wrote_it(bench: PublishBench) -> None:
    run, writer = await bench.open()
    await bench.bed.hand_back("w", run.run_id)
    await bench.bed.claim()
    writer.emit([Finished("stop")])
    assert await writer.ended == "fenced"


async def test_an_earlier_attempts_frames_are_none_of_the_later_ones(bench: PublishBench) -> None:
    run, writer = await bench.open()
    await bench.bed.hand_back("w", run.run_id)
    (again,) = await bench.bed.claim()
    later = bench.writer(again)
    writer.emit([TextDelta("of old")])
    later.emit([TextDelta("new")])
    writer.close()
    later.emit([Finished("stop")])
    assert await later.ended == "ok"
    assert bench.lost == []
    assert text_of(await bench.bed.events(run.run_id)) == "new"


async def test_what_cannot_be_written_loses_its_run_and_no_other(bench: PublishBench) -> None:
    bad, writer = await bench.open()
    fine, second = await bench.open()
    writer.emit([TextDelta("\ud83d")])
    second.emit([TextDelta("a")])
    await until(lambda: bench.lost)
    assert bench.lost == [(bad.run_id, "refused")]
    second.emit([Finished("stop")])
    assert await second.ended == "ok"
    assert text_of(await bench.said(fine)) == "a"


async def test_while_the_lease_is_in_doubt_frames_wait(bench: PublishBench) -> None:
    run, writer = await bench.open()
    bench.allowed = False
    writer.emit([TextDelta("a")])
    writer.emit([Finished("stop")])
    await bench.pipe.send("PING")
    assert await bench.said(run) == []
    bench.allowed = True
    bench.publisher.resume()
    assert await writer.ended == "ok"
    assert text_of(await bench.said(run)) == "a"


@pytest.mark.parametrize("event", [TextDelta("x" * 900), ToolArgsDelta(0, "x" * 900)])
async def test_a_run_may_not_fill_the_worker_while_redis_takes_nothing(
    bench: PublishBench, event: RunEvent
) -> None:
    _, writer = await bench.open()
    bench.allowed = False
    with pytest.raises(RunBufferFull):
        for _ in range(30):
            writer.emit([event])
    writer.give_up()
    assert await writer.ended == "refused"


@pytest.mark.redis
async def test_connections_that_break_lose_no_event_and_double_none(
    own: tuple[PublishBench, RedisServer],
) -> None:
    bench, server = own
    chance = random.Random(7)
    runs = [await bench.open() for _ in range(20)]
    expected = {run.run_id: "" for run, _ in runs}
    with server.client() as killer:
        for step in range(400):
            for run, writer in runs:
                text = f"{step}:{chance.randrange(10**6)} "
                expected[run.run_id] += text
                writer.emit([TextDelta(text)])
            await asyncio.sleep(0)
            if step % 25 == 24:
                killer.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(chance.random() * 0.05)
    for _, writer in runs:
        writer.emit([Finished("stop")])
    async with asyncio.timeout(60):
        assert {await writer.ended for _, writer in runs} <= {"ok", "done"}
    assert bench.lost == []
    assert bench.pipe.generation > 2
    for run, writer in runs:
        events = await bench.said(run)
        assert text_of(events) == expected[run.run_id]
        assert events[-1] == Finished("stop")
        assert writer.unacknowledged == 0


@pytest.mark.redis
async def test_frames_that_a_failover_lost_are_sent_again_first(
    own: tuple[PublishBench, RedisServer],
) -> None:
    bench, server = own
    run, writer = await bench.open()
    for text in ("a", "b", "c"):
        writer.emit([TextDelta(text)])
        await until(lambda: not writer.unacknowledged and not writer.buffer)
    _, *tail = [at for at, _, _ in (await bench.bed.log(run.run_id))[1:]]
    await bench.bed.redis.xdel(bench.bed.keys.log(run.run_id), *tail)
    # As a failover does it: the new primary ends where the old one's replica was.
    await bench.bed.redis.execute_command(
        "XSETID", bench.bed.keys.log(run.run_id), f"{run.epoch}-2"
    )
    with server.client() as killer:
        killer.client_kill_filter(_type="normal", skipme=True)
    writer.emit([TextDelta("d")])
    writer.emit([Finished("stop")])
    async with asyncio.timeout(30):
        assert await writer.ended == "ok"
    assert text_of(await bench.said(run)) == "abcd"
    assert writer.unacknowledged == 0


@pytest.mark.redis
async def test_a_redis_without_memory_is_waited_for(own: tuple[PublishBench, RedisServer]) -> None:
    bench, _ = own
    run, writer = await bench.open()
    writer.emit([TextDelta("before ")])
    await until(lambda: not writer.unacknowledged and not writer.buffer)
    await bench.bed.redis.config_set("maxmemory", 1)
    for word in ("while ", "it ", "is "):
        writer.emit([TextDelta(word)])
        await bench.pipe.send("PING")
    writer.emit([TextDelta("full")])
    await asyncio.sleep(0.3)
    assert bench.lost == [] and text_of(await bench.said(run)) == "before "
    with pytest.raises(RunBufferFull):
        for _ in range(30):
            writer.emit([TextDelta("x" * 900)])
    await bench.bed.redis.config_set("maxmemory", 0)
    writer.emit([Finished("stop")])
    assert await writer.ended == "ok"
    assert text_of(await bench.said(run)).startswith("before while it is full")


async def test_closing_ends_while_redis_is_away() -> None:
    bench = PublishBench(MemoryRedis())
    await bench.publisher.start()
    writer = bench.publisher.open_run("r", 1, 2, "")
    writer.emit([TextDelta("a")])
    async with asyncio.timeout(20):
        await bench.aclose()
    with pytest.raises(RedisUnavailable):
        await bench.pipe.send("PING")
