import asyncio
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.api.fake_log import FakeLog, frame
from tests.patience import until
from trunkline_api import relay as relay_module
from trunkline_api.hub import Reader, ReaderClosed
from trunkline_api.relay import PAGE, Relay, RunLost
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import Attempt, Failed, Finished, RunEvent, TextDelta
from trunkline_shared.keys import Keys

LONG_S = 20.0


class Bench:
    """A relay over a fake log, and its reader."""

    def __init__(self, max_bytes: int = 256 * 1024) -> None:
        self.log = FakeLog()
        self.reader = Reader("r", max_bytes)  # type: ignore[arg-type]
        self.relay = Relay(self.reader, self.log, Keys())  # type: ignore[arg-type]

    def push(self, first_seq: int, *events: RunEvent, epoch: int = 5) -> None:
        """What a worker's append does: into the log, and to the reader."""
        self.reader.push(*self.log.add(first_seq, *events, epoch=epoch))

    async def next(self, timeout_s: float = LONG_S) -> list[RunEvent]:
        batches = await self.relay.next(timeout_s)
        return [event for batch in batches or () for event in batch.events]

    async def all(self) -> list[RunEvent]:
        """Everything up to the end."""
        events: list[RunEvent] = []
        async with asyncio.timeout(LONG_S):
            while not self.relay.ended:
                events += await self.next()
        return events


@pytest.fixture
async def bench() -> Any:
    bench = Bench()
    yield bench
    bench.reader.discard()


async def test_pushed_frames_pass_without_a_look_into_the_log(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    bench.push(3, TextDelta("a"), TextDelta("b"))
    bench.push(5, Finished("stop"))
    assert await bench.all() == [Attempt(1), TextDelta("a"), TextDelta("b"), Finished("stop")]
    assert bench.log.reads == 0


async def test_a_frame_that_was_lost_on_the_way_comes_from_the_log(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    bench.log.add(3, TextDelta("lost"))
    bench.push(4, TextDelta("pushed"))
    bench.push(5, Finished("stop"))
    events = await bench.all()
    assert events == [Attempt(1), TextDelta("lost"), TextDelta("pushed"), Finished("stop")]


async def test_a_frame_that_comes_twice_is_passed_on_once(bench: Bench) -> None:
    for _ in range(2):
        bench.reader.push(*frame(2, Attempt(1)))
        bench.reader.push(*frame(3, TextDelta("a")))
    bench.reader.push(*frame(4, Finished("stop")))
    assert await bench.all() == [Attempt(1), TextDelta("a"), Finished("stop")]


async def test_what_is_pushed_while_the_log_is_read_is_neither_lost_nor_doubled(
    bench: Bench,
) -> None:
    bench.log.add(2, Attempt(1))
    bench.log.gate = asyncio.Event()
    bench.reader.look_into_log()
    reading = asyncio.create_task(bench.all())
    await asyncio.sleep(0)
    bench.push(3, TextDelta("a"))
    bench.push(4, Finished("stop"))
    bench.log.gate.set()
    assert await reading == [Attempt(1), TextDelta("a"), Finished("stop")]


async def test_a_long_log_is_read_in_pages(bench: Bench) -> None:
    texts: list[RunEvent] = [TextDelta(str(number)) for number in range(2 * PAGE + 7)]
    for seq, text in enumerate(texts, 2):
        bench.log.add(seq, text)
    bench.log.add(len(texts) + 2, Finished("stop"))
    bench.reader.look_into_log()
    first = await bench.next()
    assert len(first) == PAGE - 1  # no more in memory than a page, however long the log
    assert [*first, *await bench.all()] == [*texts, Finished("stop")]


async def test_a_page_that_ends_exactly_with_the_log_ends_the_reading(bench: Bench) -> None:
    for seq in range(2, PAGE + 1):
        bench.log.add(seq, TextDelta("x"))
    bench.reader.look_into_log()
    assert len(await bench.next()) == PAGE - 1
    bench.push(PAGE + 1, Finished("stop"))
    assert await bench.all() == [Finished("stop")]


async def test_a_slow_readers_overflow_is_made_good_from_the_log() -> None:
    bench = Bench(max_bytes=2_000)
    texts: list[RunEvent] = [TextDelta("x" * 100) for _ in range(60)]
    for seq, text in enumerate(texts, 2):
        bench.push(seq, text)
    assert bench.reader.behind and not bench.reader._frames
    bench.push(len(texts) + 2, Finished("stop"))
    assert await bench.all() == [*texts, Finished("stop")]
    bench.reader.discard()


async def test_a_time_out_in_the_middle_of_the_log_loses_nothing(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    bench.log.add(3, TextDelta("a"))
    bench.push(4, TextDelta("b"))  # shows the hole
    bench.log.gate = asyncio.Event()
    assert await bench.next(0.02) == [Attempt(1)]
    assert await bench.next(0.02) == []
    bench.log.gate.set()
    bench.log.gate = None
    bench.push(5, Finished("stop"))
    assert await bench.all() == [TextDelta("a"), TextDelta("b"), Finished("stop")]


async def test_nothing_for_a_while_is_none(bench: Bench) -> None:
    assert await bench.relay.next(0.01) is None
    assert await bench.relay.next(0.0) is None


async def test_a_log_that_is_gone_is_an_error(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    await bench.next()
    bench.log.entries.clear()
    bench.reader.look_into_log()
    with pytest.raises(RunLost):
        await bench.next()


async def test_a_log_that_does_not_begin_with_the_first_event_is_an_error(bench: Bench) -> None:
    bench.log.entries = [frame(9, TextDelta("x"))]
    bench.reader.look_into_log()
    with pytest.raises(RunLost):
        await bench.next()


@pytest.mark.parametrize("seqs", [(2, 5), (3,)])
async def test_a_hole_that_the_log_itself_has_is_an_error(bench: Bench, seqs: list[int]) -> None:
    for seq in seqs:
        bench.log.add(seq, TextDelta("x"))
    bench.reader.look_into_log()
    with pytest.raises(RunLost):
        await bench.next()


async def test_a_newer_story_of_what_was_passed_on_is_an_error(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    bench.push(3, TextDelta("a"))
    bench.push(4, TextDelta("b"))
    await bench.next()
    bench.reader.push(*frame(4, Attempt(2), epoch=9))
    with pytest.raises(RunLost):
        await bench.next()


async def test_the_same_newer_story_in_the_log_is_an_error(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    bench.push(3, TextDelta("a"))
    await bench.next()
    bench.log.entries = [*bench.log.entries[:2], frame(3, Attempt(2), epoch=9)]
    bench.reader.look_into_log()
    with pytest.raises(RunLost):
        await bench.next()


async def test_a_tail_that_redis_lost_is_waited_for_because_its_writer_sends_it_again(
    bench: Bench,
) -> None:
    bench.push(2, Attempt(1))
    bench.push(3, TextDelta("a"))
    await bench.next()
    lost = bench.log.entries.pop()
    bench.reader.look_into_log()
    assert await bench.next(0.02) == []
    bench.log.entries.append(lost)
    bench.reader.push(*lost)
    bench.push(4, Finished("stop"))
    assert await bench.all() == [Finished("stop")]


async def test_a_new_attempt_goes_on_after_the_old_one(bench: Bench) -> None:
    bench.push(2, Attempt(1))
    bench.push(3, TextDelta("a"))
    bench.push(4, Attempt(2, drop_from=3), epoch=9)
    bench.push(5, Finished("stop"), epoch=9)
    assert (await bench.all())[-2:] == [Attempt(2, drop_from=3), Finished("stop")]


async def test_a_blip_of_redis_ends_nothing(bench: Bench) -> None:
    bench.log.add(2, Attempt(1))
    bench.log.trouble = RedisUnavailable("away")
    bench.reader.look_into_log()
    assert await bench.next() == []
    assert await bench.next() == []
    bench.log.trouble = None
    bench.push(3, Finished("stop"))
    assert await bench.all() == [Attempt(1), Finished("stop")]


async def test_a_redis_that_stays_away_ends_the_stream(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "AWAY_S", 0.05)
    bench.log.trouble = RedisUnavailable("away")
    bench.reader.look_into_log()
    with pytest.raises(RedisUnavailable):
        async with asyncio.timeout(LONG_S):
            while True:
                await bench.next(0.01)
                await asyncio.sleep(0.01)


async def test_a_redis_that_refuses_at_once_leaves_time_for_others(bench: Bench) -> None:
    bench.log.trouble = RedisUnavailable("too many commands wait for Redis")
    bench.reader.look_into_log()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            while True:
                await bench.next()


async def test_a_log_that_redis_refuses_to_read_is_an_error(bench: Bench) -> None:
    bench.log.trouble = ResponseError("WRONGTYPE")
    bench.reader.look_into_log()
    with pytest.raises(RunLost):
        await bench.next()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'[2,["of a later version"]]', b'[2,["t"]]'])
async def test_a_frame_that_cannot_be_read_is_an_error_not_a_crash(
    bench: Bench, data: bytes
) -> None:
    bench.reader.push(b"5-2", data)
    with pytest.raises(RunLost):
        await bench.next()


async def test_a_closed_reader_wakes_the_one_who_waits(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.relay.next(LONG_S))
    await until(lambda: bench.reader._waiter)
    bench.reader.close()
    with pytest.raises(ReaderClosed) as caught:
        await waiting
    assert not caught.value.shutting_down


async def test_a_client_that_left_is_served_no_further_though_frames_are_there(
    bench: Bench,
) -> None:
    bench.push(2, Attempt(1))
    bench.reader.close()
    with pytest.raises(ReaderClosed):
        await bench.next()


async def test_the_first_reason_to_close_stands(bench: Bench) -> None:
    bench.reader.close(shutting_down=True)
    bench.reader.close()
    with pytest.raises(ReaderClosed) as caught:
        await bench.next()
    assert caught.value.shutting_down


async def test_the_end_is_the_end_whatever_is_pushed_later(bench: Bench) -> None:
    bench.push(2, Failed("worker_lost", "x"))
    bench.reader.push(*frame(9, TextDelta("late")))
    assert await bench.next() == [Failed("worker_lost", "x")]
    assert bench.relay.ended


async def test_a_cancelled_wait_leaves_the_reader_usable(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.relay.next(LONG_S))
    await until(lambda: bench.reader._waiter)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bench.push(2, Attempt(1))
    assert await bench.next() == [Attempt(1)]
