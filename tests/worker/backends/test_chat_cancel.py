"""Whoever leaves a run closes the upstream's socket, at once and in every state of the call."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.worker.backends.driving import chat, events_of, finished, no_gate, request, spec, text_in
from trunkline_shared.events import RunEvent
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.retry import Retry
from trunkline_worker.run_writer import RunBufferFull


async def cancelled(task: "asyncio.Task[list[RunEvent]]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def consume(backend: ChatBackend) -> "asyncio.Task[list[RunEvent]]":
    return asyncio.create_task(events_of(backend, request()), name="consumer")


def in_state(upstream: FakeUpstream, model: str) -> Callable[[], bool]:
    return lambda: model in upstream.open.values()


@pytest.mark.parametrize("model", ["silence-3", "silence-0", "hang", "slow-1000x100"])
async def test_a_cancelled_task_closes_the_socket(upstream: FakeUpstream, model: str) -> None:
    async with chat(spec(upstream, model)) as backend:
        task = consume(backend)
        await upstream.until(in_state(upstream, model))
        await cancelled(task)
        await upstream.until(lambda: len(upstream.closed) == 1)
    assert upstream.closed[0].model == model
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("model", ["silence-3", "slow-1000x100", "greedy-5000"])
async def test_a_run_that_nobody_takes_closes_the_socket_and_says_so(
    upstream: FakeUpstream, model: str
) -> None:
    def full(_: Sequence[RunEvent]) -> None:
        raise RunBufferFull("full")

    async with chat(spec(upstream, model)) as backend:
        with pytest.raises(RunBufferFull):
            await backend.run(request(), RunContext(no_gate, full))
        await upstream.until(lambda: not upstream.open)
    assert len(upstream.requests) == 1


async def test_the_upstream_sees_the_close_at_once(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "slow-1000x100")) as backend:
        tasks = [consume(backend) for _ in range(50)]
        await upstream.until(lambda: len(upstream.open) == 50)
        left = time.monotonic()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await upstream.until(lambda: len(upstream.closed) == 50)
    delays = [closed.at - left for closed in upstream.closed]
    assert statistics.quantiles(delays, n=100)[98] < 1


async def test_a_run_that_waits_to_try_again_can_be_cancelled(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "status-500"), retry=Retry(first_s=30, ceiling_s=30)) as backend:
        task = consume(backend)
        await upstream.until(lambda: len(upstream.requests) == 1 and not upstream.open)
        await cancelled(task)
    assert len(upstream.requests) == 1


async def test_an_answer_that_we_cut_closes_the_socket_too(upstream: FakeUpstream) -> None:
    ignoring = spec(upstream, "slow-1000x200", extra_body={"max_tokens": 1000})
    async with chat(ignoring) as backend:
        events = await events_of(backend, request(options={"max_output_tokens": 5}))
        assert finished(events).reason == "length"
        await upstream.until(lambda: len(upstream.closed) == 1)


async def test_other_runs_are_not_disturbed(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "slow-10x100")) as backend:
        tasks = [consume(backend) for _ in range(10)]
        await upstream.until(lambda: len(upstream.open) == 10)
        for task in tasks[::2]:
            await cancelled(task)
        for task in tasks[1::2]:
            assert text_in(await task).count("w") == 10
        await upstream.until(lambda: len(upstream.closed) == 5)
