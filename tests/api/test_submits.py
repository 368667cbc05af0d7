"""Runs that are asked for in one loop tick are one call; each hears what Redis says to it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from trunkline_api import submits
from trunkline_api.settings import ApiSettings
from trunkline_api.submits import Submission, Submits
from trunkline_shared.errors import RedisUnavailable


class FakePipe:
    """Takes calls, and answers them when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[Any], None], tuple[Any, ...]]] = []
        self.flushed = 0

    def call_then(self, then: Callable[[Any], None], script: str, *arguments: Any) -> None:
        assert script == "submit"
        self.calls.append((then, arguments))

    def flush(self) -> None:
        self.flushed += 1

    def runs(self) -> list[list[str]]:
        """The ids of the runs of each call."""
        found = []
        for _, arguments in self.calls:
            ids, at = [], 3
            while at < len(arguments):
                ids.append(arguments[at + 1])
                at += 1 + arguments[at]
            found.append(ids)
        return found


def submission(run_id: str, job: bytes = b"{}", *more: str) -> Submission:
    return (run_id, "agent default p", "back", "1 1 fail 1", 0, 1000, job, *more)


@pytest.fixture
def pipe() -> FakePipe:
    return FakePipe()


@pytest.fixture
def asks(pipe: FakePipe) -> Submits:
    return Submits(ApiSettings(max_queue=8, queue_timeout_s=9.0), pipe)  # type: ignore[arg-type]  # it has what is used


async def test_runs_of_one_tick_are_one_call_and_those_of_the_next_another(
    pipe: FakePipe, asks: Submits
) -> None:
    first = [asks.ask(submission("a")), asks.ask(submission("b", b"{}", "conv", "c"))]
    await asyncio.sleep(0)
    last = asks.ask(submission("c"))
    await asyncio.sleep(0)
    assert pipe.runs() == [["a", "b"], ["c"]]
    assert pipe.calls[0][1][:3] == ("runs", 9000, 8)
    assert pipe.flushed == 2
    pipe.calls[0][0]([[b"ok", b"0"], [b"queue_full", b"7"]])
    assert [await each for each in first] == [[b"ok", b"0"], [b"queue_full", b"7"]]
    assert not last.done()


async def test_a_run_whose_caller_has_left_in_the_same_tick_is_not_asked_for(
    pipe: FakePipe, asks: Submits
) -> None:
    left, stayed = asks.ask(submission("a")), asks.ask(submission("b"))
    left.cancel()
    await asyncio.sleep(0)
    assert pipe.runs() == [["b"]]
    asks.ask(submission("c")).cancel()
    await asyncio.sleep(0)
    assert pipe.runs() == [["b"]]
    pipe.calls[0][0]([[b"ok", b"0"]])
    assert await stayed == [b"ok", b"0"]


async def test_a_caller_that_leaves_later_disturbs_nobody(pipe: FakePipe, asks: Submits) -> None:
    left, stayed = asks.ask(submission("a")), asks.ask(submission("b"))
    await asyncio.sleep(0)
    left.cancel()
    pipe.calls[0][0]([[b"ok", b"0"], [b"ok", b"0"]])
    assert await stayed == [b"ok", b"0"]


@pytest.mark.parametrize("error", [RedisUnavailable("broke"), ResponseError("no")])
async def test_an_error_of_the_call_is_one_of_each_run(
    error: Exception, pipe: FakePipe, asks: Submits
) -> None:
    asked = [asks.ask(submission(name)) for name in "ab"]
    await asyncio.sleep(0)
    pipe.calls[0][0](error)
    for each in asked:
        with pytest.raises(type(error)):
            await each


async def test_an_error_of_one_run_is_its_own(pipe: FakePipe, asks: Submits) -> None:
    full, fine = asks.ask(submission("a")), asks.ask(submission("b"))
    await asyncio.sleep(0)
    pipe.calls[0][0]([OutOfMemoryError("OOM"), [b"ok", b"0"]])
    with pytest.raises(OutOfMemoryError):
        await full
    assert await fine == [b"ok", b"0"]


async def test_a_call_holds_no_more_runs_than_redis_may_be_blocked_by(
    pipe: FakePipe, asks: Submits
) -> None:
    for number in range(submits.MAX_RUNS + 1):
        asks.ask(submission(str(number)))
    await asyncio.sleep(0)
    assert [len(ids) for ids in pipe.runs()] == [submits.MAX_RUNS, 1]
    assert pipe.flushed == 1


async def test_jobs_of_more_bytes_than_a_call_takes_are_spread_and_a_larger_one_is_alone(
    pipe: FakePipe, asks: Submits
) -> None:
    half = b"x" * (submits.MAX_BYTES // 2)
    for name, job in zip("abcd", (half, half, half, half * 3), strict=True):
        asks.ask(submission(name, job))
    await asyncio.sleep(0)
    assert pipe.runs() == [["a", "b"], ["c"], ["d"]]
