"""What a run records is in Redis with what it says: both, once, or neither."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.fakes.memory_redis import MemoryRedis
from tests.fakes.redis_server import RedisServer
from tests.patience import until
from tests.worker.publish_bench import PublishBench, text_of
from trunkline_shared.events import Finished, Step, TextDelta
from trunkline_worker.execute import Claimed
from trunkline_worker.run_writer import RunBufferFull, RunWriter


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
async def own() -> AsyncIterator[tuple[PublishBench, RedisServer]]:
    """A bench with a server of its own, to be treated badly."""
    with RedisServer() as server:
        client: Redis = Redis.from_url(server.url)
        bench = PublishBench(client)
        await bench.start()
        yield bench, server
        await bench.aclose()
        await client.aclose()


def said_by(writer: RunWriter) -> asyncio.Task[None]:
    return asyncio.create_task(writer.record(b"entry", [TextDelta("a"), Step()]))


async def test_a_record_is_in_redis_when_it_returns(bench: PublishBench) -> None:
    run, writer = await bench.open()
    writer.emit([TextDelta("I look. ")])
    await writer.record(b"one", [Step()])
    assert await bench.bed.journal(run.run_id) == [b"one"]
    assert await bench.said(run) == [TextDelta("I look. "), Step()]
    writer.emit([TextDelta("It is ")])
    await asyncio.gather(writer.record(b"two", [Step()]), writer.record(b"three", [Step()]))
    assert await bench.bed.journal(run.run_id) == [b"one", b"two", b"three"]
    writer.emit([TextDelta("there."), Finished("stop")])
    assert await writer.ended == "ok"
    assert text_of(await bench.said(run)) == "I look. It is there."
    assert await bench.bed.journal(run.run_id) == []
    assert writer.unacknowledged == 0


async def test_the_end_may_follow_at_once(bench: PublishBench) -> None:
    run, writer = await bench.open()
    recording = said_by(writer)
    await asyncio.sleep(0)
    writer.emit([Finished("stop")])
    await recording
    assert await writer.ended == "ok"
    assert await bench.said(run) == [TextDelta("a"), Step(), Finished("stop")]
    assert await bench.bed.journal(run.run_id) == []


async def test_runs_that_record_at_once_do_not_disturb_each_other(bench: PublishBench) -> None:
    opened = [await bench.open() for _ in range(20)]
    for _, writer in opened:
        writer.emit([TextDelta("a")])
    await asyncio.gather(
        *[writer.record(run.run_id.encode(), [Step()]) for run, writer in opened[::2]]
    )
    for number, (run, writer) in enumerate(opened):
        writer.emit([TextDelta("b")])
        await until(lambda writer=writer: not writer.unacknowledged and not writer.buffer)
        expected = [] if number % 2 else [run.run_id.encode()]
        assert await bench.bed.journal(run.run_id) == expected
        assert text_of(await bench.said(run)) == "ab"


async def test_while_the_lease_is_in_doubt_a_record_waits(bench: PublishBench) -> None:
    run, writer = await bench.open()
    bench.allowed = False
    recording = said_by(writer)
    for _ in range(3):
        await bench.pipe.send("PING")
    assert not recording.done() and await bench.bed.journal(run.run_id) == []
    bench.allowed = True
    bench.publisher.resume()
    await recording
    assert await bench.bed.journal(run.run_id) == [b"entry"]


async def test_a_record_of_a_fenced_run_never_returns(bench: PublishBench) -> None:
    run, writer = await bench.open()
    await bench.bed.hand_back("w", run.run_id)
    await bench.bed.claim()
    recording = said_by(writer)
    await until(lambda: bench.lost)
    assert bench.lost == [(run.run_id, "fenced")] and not recording.done()
    writer.close()
    with pytest.raises(asyncio.CancelledError):
        await recording
    with pytest.raises(asyncio.CancelledError):
        await writer.record(b"later", [Step()])
    assert await bench.bed.journal(run.run_id) == []


async def test_whoever_is_cancelled_while_it_records_leaves_the_record_to_redis(
    bench: PublishBench,
) -> None:
    run, writer = await bench.open()
    recording = said_by(writer)
    await asyncio.sleep(0)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    await writer.record(b"next", [Step()])
    assert await bench.bed.journal(run.run_id) == [b"entry", b"next"]


async def test_what_has_no_room_in_the_buffer_is_not_recorded(bench: PublishBench) -> None:
    run, writer = await bench.open()
    bench.allowed = False
    with pytest.raises(RunBufferFull):
        for _ in range(30):
            writer.emit([TextDelta("x" * 900)])
    with pytest.raises(RunBufferFull):
        await writer.record(b"entry", [Step()])
    bench.allowed = True
    writer.emit([Finished("stop")])
    await writer.ended
    assert await bench.bed.journal(run.run_id) == []


async def test_after_a_step_is_recorded_nothing_was_shown_that_is_not(bench: PublishBench) -> None:
    _, writer = await bench.open()
    writer.emit([TextDelta("a")])
    first_at = writer.first_output_at
    assert writer.has_output
    await writer.record(b"one", [Step()])
    assert not writer.has_output
    writer.emit([TextDelta("b")])
    assert writer.has_output and writer.first_output_at == first_at


@pytest.mark.redis
async def test_connections_that_break_lose_no_entry_and_double_none(
    own: tuple[PublishBench, RedisServer],
) -> None:
    bench, server = own
    chance = random.Random(7)
    runs = [await bench.open() for _ in range(20)]
    with server.client() as killer:
        recording = [
            asyncio.create_task(talk(writer, random.Random(run.run_id))) for run, writer in runs
        ]
        for _ in range(12):
            await asyncio.sleep(chance.random() * 0.05)
            killer.client_kill_filter(_type="normal", skipme=True)
            await bench.pipe.connected()
        async with asyncio.timeout(60):
            await asyncio.gather(*recording)
    assert bench.lost == []
    assert bench.pipe.generation > 2
    for (run, writer), task in zip(runs, recording, strict=True):
        text, entries = task.result()
        assert await bench.bed.journal(run.run_id) == entries
        assert text_of(await bench.said(run)) == text
        assert writer.unacknowledged == 0
        writer.emit([Finished("stop")])
        assert await writer.ended in ("ok", "done")


async def talk(writer: RunWriter, chance: random.Random) -> tuple[str, list[bytes]]:
    """Speaks and records by turns; what of both there is to be in the end."""
    text, entries = "", []
    for step in range(40):
        for word in range(chance.randrange(4)):
            writer.emit([TextDelta(f"{step}.{word} ")])
            text += f"{step}.{word} "
            await asyncio.sleep(0)
        entries.append(b"%d" % step)
        await writer.record(entries[-1], [Step()])
    return text, entries


@pytest.mark.redis
async def test_what_a_failover_lost_of_log_and_journal_is_there_again(
    own: tuple[PublishBench, RedisServer],
) -> None:
    bench, server = own
    run, writer = await bench.open()
    await writer.record(b"one", [TextDelta("a"), Step()])
    await writer.record(b"two", [TextDelta("b"), Step()])
    await lose(bench, run, kept_seq=4)
    assert await bench.bed.journal(run.run_id) == [b"one"]
    with server.client() as killer:
        killer.client_kill_filter(_type="normal", skipme=True)
    async with asyncio.timeout(30):
        await writer.record(b"three", [TextDelta("c"), Step()])
    assert await bench.bed.journal(run.run_id) == [b"one", b"two", b"three"]
    assert text_of(await bench.said(run)) == "abc"


async def lose(bench: PublishBench, run: Claimed, *, kept_seq: int) -> None:
    """As a failover does it: the new primary ends where the old one's replica was."""
    log, at = bench.bed.keys.log(run.run_id), f"{run.epoch}-{kept_seq}"
    lost = [stream_id for stream_id, _ in await bench.bed.redis.xrange(log, f"({at}")]
    await bench.bed.redis.xdel(log, *lost)
    await bench.bed.redis.execute_command("XSETID", log, at)
    await bench.bed.redis.rpop(bench.bed.keys.journal(run.run_id), len(lost))


@pytest.mark.redis
async def test_a_redis_without_memory_is_waited_for(own: tuple[PublishBench, RedisServer]) -> None:
    bench, _ = own
    run, writer = await bench.open()
    await bench.bed.redis.config_set("maxmemory", 1)
    recording = said_by(writer)
    for _ in range(10):
        await bench.pipe.send("PING")
    assert not recording.done() and await bench.bed.journal(run.run_id) == []
    await bench.bed.redis.config_set("maxmemory", 0)
    async with asyncio.timeout(30):
        await recording
    assert await bench.bed.journal(run.run_id) == [b"entry"]
    assert await bench.said(run) == [TextDelta("a"), Step()]
