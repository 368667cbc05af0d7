import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.api.tail_bed import TailBed, tail_bed
from tests.fakes.redis_server import RedisServer
from tests.patience import until
from trunkline_api import tail as tail_module
from trunkline_api.hub import Reader, ReaderClosed
from trunkline_api.relay import Relay, RunLost
from trunkline_api.tail import LogGone
from trunkline_shared.events import Attempt, Finished, TextDelta

pytestmark = pytest.mark.redis
QUICK_S = 2.0  # far less than the blocking read


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[TailBed]:
    async with tail_bed(redis_url) as bed:
        yield bed


def relay(bed: TailBed, reader: Reader) -> Relay:
    reader.look_into_log()
    return Relay(reader, bed.pipe, bed.keys)


async def test_what_is_there_and_what_comes_are_read_once_and_in_order(bed: TailBed) -> None:
    await bed.create("r")
    await bed.add("r", 2, Attempt(1))
    async with bed.tail.reading("r") as reader:
        told = asyncio.create_task(bed.all(relay(bed, reader)))
        await bed.add("r", 3, TextDelta("a"), TextDelta("b"))
        await bed.add("r", 5, Finished("stop"))
        assert await told == [Attempt(1), TextDelta("a"), TextDelta("b"), Finished("stop")]


async def test_readers_of_one_log_who_come_at_different_times_are_told_the_same(
    bed: TailBed,
) -> None:
    await bed.create("r")
    async with bed.tail.reading("r") as early:
        first = asyncio.create_task(bed.all(relay(bed, early)))
        await bed.add("r", 2, Attempt(1), TextDelta("a"))
        async with bed.tail.reading("r") as late:
            second = asyncio.create_task(bed.all(relay(bed, late)))
            await bed.add("r", 4, Finished("stop"))
            assert await first == await second


async def test_a_log_is_followed_at_once_though_a_read_of_others_blocks(bed: TailBed) -> None:
    for name in ("quiet", "r"):
        await bed.create(name)
    async with bed.tail.reading("quiet"):
        await until(lambda: bed.blocking._inflight)
        async with asyncio.timeout(QUICK_S), bed.tail.reading("r") as reader:
            await bed.add("r", 2, Finished("stop"))
            assert await reader.wait(QUICK_S)
    # And after the last reader has left, while the read still blocks.
    async with asyncio.timeout(QUICK_S):
        await bed.create("s")
        async with bed.tail.reading("s") as reader:
            await bed.add("s", 2, Finished("stop"))
            assert await reader.wait(QUICK_S)


async def test_a_slow_reader_is_fed_from_the_log(bed: TailBed) -> None:
    await bed.create("r")
    async with bed.tail.reading("r") as reader:
        slow = relay(bed, reader)
        for seq in range(2, 52):
            await bed.add("r", seq, TextDelta("x" * 500))
        await bed.add("r", 52, Finished("stop"))
        await until(lambda: reader.behind)
        assert len(await bed.all(slow)) == 51


async def test_nothing_is_missed_while_the_connection_is_away(bed: TailBed) -> None:
    await bed.create("r")
    async with bed.tail.reading("r") as reader:
        told = asyncio.create_task(bed.all(relay(bed, reader)))
        await bed.add("r", 2, TextDelta("a"))
        generation = bed.blocking.generation
        await bed.redis.client_kill_filter(_type="normal", skipme=True)
        await bed.add("r", 3, Finished("stop"))
        assert await told == [TextDelta("a"), Finished("stop")]
        await until(lambda: bed.blocking.generation > generation)


async def test_there_is_no_reader_of_a_log_that_is_gone(bed: TailBed) -> None:
    with pytest.raises(LogGone):
        async with bed.tail.reading("r"):
            raise AssertionError


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_log_that_goes_while_it_is_read_is_an_error_whatever_becomes_of_the_connection(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    monkeypatch.setattr(tail_module, "SILENCE_S", 0.05)
    async with tail_bed(redis_url) as bed:
        await bed.create("r")
        async with bed.tail.reading("r") as reader:
            told = asyncio.create_task(bed.all(relay(bed, reader)))
            if is_away:
                await bed.blocking.aclose()  # it does not come back
            await bed.add("r", 2, Attempt(1))
            await until(lambda: not reader.behind and reader._waiter)  # it was told that
            await bed.redis.delete(bed.keys.log("r"))
            with pytest.raises(RunLost):
                await told


async def test_a_redis_that_is_full_lets_a_reader_wait_for_the_end_of_a_read_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail_module, "BLOCK_S", 0.5)
    with RedisServer() as server:
        async with tail_bed(server.url) as bed:
            for name in ("quiet", "r"):
                await bed.create(name)
            async with bed.tail.reading("quiet"):
                await until(lambda: bed.blocking._inflight)
                await bed.redis.config_set("maxmemory", 1)
                async with bed.tail.reading("r") as reader:
                    await bed.redis.config_set("maxmemory", 0)
                    await bed.add("r", 2, Finished("stop"))
                    assert await reader.wait(QUICK_S)


async def test_what_is_no_log_troubles_its_own_reader_alone(bed: TailBed) -> None:
    for name in ("r", "broken"):
        await bed.create(name)
    async with bed.tail.reading("r") as reader:
        told = asyncio.create_task(bed.all(relay(bed, reader)))
        async with bed.tail.reading("broken") as other:
            await bed.redis.delete(bed.keys.log("broken"))
            await bed.redis.set(bed.keys.log("broken"), "x")
            with pytest.raises(RunLost):
                await bed.all(relay(bed, other))
        await bed.add("r", 2, Finished("stop"))
        assert await told == [Finished("stop")]


async def test_a_process_that_closes_ends_its_readers(bed: TailBed) -> None:
    await bed.create("r")
    async with bed.tail.reading("r") as reader:
        bed.closing.set()
        with pytest.raises(ReaderClosed) as caught:
            await reader.wait(20)
        assert caught.value.shutting_down
    async with bed.tail.reading("r") as late:
        with pytest.raises(ReaderClosed):
            await late.wait(20)


async def test_what_nobody_reads_is_forgotten_and_nothing_stays_in_redis(bed: TailBed) -> None:
    for name in ("r", "s"):
        await bed.create(name)
    async with bed.tail.reading("r"):
        await until(lambda: bed.blocking._inflight)
        async with bed.tail.reading("s"):
            pass
    assert bed.tail._followed == {}
    assert 0 < await bed.redis.pttl(bed.keys.tail("a")) <= 60_000
