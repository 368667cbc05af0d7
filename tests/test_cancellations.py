"""Cancelled at every tick of the loop, one after the other: what must hold afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.api.fake_gateway import CONFIG
from tests.api.fake_log import FakeLog
from tests.api.test_follow import FakeHub, FakeRuns
from tests.fakes.memory_redis import MemoryRedis
from tests.patience import PATIENCE_S
from tests.worker.dispatch_bench import DispatchBench
from tests.worker.fake_run import ScriptedBackend, execution
from trunkline_api.client import AsgiClient
from trunkline_api.follow import Follow
from trunkline_api.gateway import Shutdown
from trunkline_api.relay import Relay
from trunkline_api.submission import Admission
from trunkline_shared.events import Failed, Finished, RunEvent, TextDelta
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import RunId, RunRequest
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings
from trunkline_worker.execute import Execution

TEXT = [TextDelta("a")]
END = [Finished("stop")]
STOP = Failed("cancelled", "The run was cancelled.")
TICKS = range(40)


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def cancelled_after(count: int, work: Coroutine[Any, Any, Any]) -> Any:
    """Runs `work`, cancels it after so many ticks; its result, or the cancellation."""
    task = asyncio.create_task(work)
    await ticks(count)
    task.cancel()
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(task, return_exceptions=True)
    return results[0]


def alone() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


async def short_step() -> None:
    await asyncio.sleep(0)


class SlowBackend(ScriptedBackend):
    """Gives the loop a turn wherever a backend may wait."""

    def __init__(self) -> None:
        super().__init__(TEXT, TEXT, END)
        self.closing: Callable[[], Awaitable[None]] | None = short_step
        self.between = short_step


@pytest.mark.parametrize("count", range(12))
async def test_a_process_that_is_cancelled_closes_the_backend_and_invents_no_end(
    count: int,
) -> None:
    """A cancelled task leaves an open backend to nobody and no event that nobody said."""
    run, writer = execution()
    writer.silent = True
    backend = SlowBackend()
    result = await cancelled_after(count, run.run(backend))
    assert isinstance(result, asyncio.CancelledError)
    assert not any(isinstance(event, Failed) for event in writer.events)
    assert alone()


@pytest.mark.parametrize("count", range(14))
async def test_a_run_that_is_stopped_has_exactly_one_end(count: int) -> None:
    """Whenever the stop comes, the run ends once, with nothing behind its end."""
    run, writer = execution()
    backend = SlowBackend()
    task = asyncio.create_task(run.run(backend))
    await ticks(count)
    run.stop(STOP)
    async with asyncio.timeout(PATIENCE_S):
        assert await task == "ok"
    ends = [event for event in writer.events if isinstance(event, Failed | Finished)]
    assert len(ends) == 1 and writer.events[-1] is ends[0]
    assert backend.closed.is_set() or not backend.requests
    assert alone()


@pytest.mark.parametrize("count", range(14))
async def test_a_run_that_is_dropped_ends_at_once_whatever_it_did(count: int) -> None:
    """Whenever the run is lost, its task ends and its backend is closed."""
    run, writer = execution()
    writer.silent = True
    backend = SlowBackend()
    task = asyncio.create_task(run.run(backend))
    await ticks(count)
    run.drop()
    async with asyncio.timeout(PATIENCE_S):
        assert await task == "dropped"
    assert writer.closed and alone()


@pytest.mark.parametrize("gap", range(4))
@pytest.mark.parametrize("count", range(8))
async def test_a_stop_and_a_loss_in_any_order_end_the_run(count: int, gap: int) -> None:
    """Two reasons to end that cross leave no task behind."""
    for first, second in ((stop, drop), (drop, stop)):
        run, writer = execution()
        task = asyncio.create_task(run.run(SlowBackend()))
        await ticks(count)
        first(run)
        await ticks(gap)
        second(run)
        async with asyncio.timeout(PATIENCE_S):
            assert await task in ("ok", "dropped")
        ends = [event for event in writer.events if isinstance(event, Failed | Finished)]
        assert len(ends) <= 1
        assert alone()


def stop(run: Execution) -> None:
    run.stop(STOP)


def drop(run: Execution) -> None:
    run.drop()


@pytest.mark.parametrize("count", TICKS)
async def test_a_dispatch_that_is_cancelled_leaves_every_run_where_a_sweep_finds_it(
    count: int,
) -> None:
    """A run is waiting in its queue, held under the worker's id, or over; never nowhere."""
    async with DispatchBench(SlowBackend()) as bench:
        ids = [await bench.bed.submit() for _ in range(2)]
        await ticks(count)
        bench.task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(bench.task, return_exceptions=True)
        bench.task = asyncio.create_task(asyncio.sleep(0))
        assert bench.running == []
        await bench.calls.send("PING")
        await bench.frames.send("PING")
        held = await bench.bed.redis.hkeys(bench.bed.keys.held("w"))
        queued = await bench.bed.queued()
        for run_id in ids:
            match (await bench.bed.state(run_id))["st"]:
                case "queued":
                    assert run_id in queued
                case "running":
                    assert run_id.encode() in held
                case "done":
                    assert await bench.bed.traces(run_id) == []


@pytest.mark.parametrize("count", TICKS)
async def test_a_drain_that_begins_at_any_tick_ends_or_hands_back_every_run(count: int) -> None:
    """Nothing is held by a worker that has drained."""
    async with DispatchBench(SlowBackend()) as bench:
        ids = [await bench.bed.submit() for _ in range(3)]
        await ticks(count)
        async with asyncio.timeout(PATIENCE_S):
            await bench.dispatch.drain(0)
            await bench.task
        assert await bench.bed.redis.hlen(bench.bed.keys.held("w")) == 0
        for run_id in ids:
            assert (await bench.bed.state(run_id))["st"] in ("queued", "done")


@pytest.mark.parametrize("count", range(14))
async def test_a_request_that_is_cancelled_releases_its_reader_and_cancels_its_run(
    count: int,
) -> None:
    """Whoever stops following leaves neither a reader nor a task nor a run that nobody reads."""
    hub, log = FakeHub(), FakeLog()
    runs = SlowRuns(hub)
    follow = Follow(
        runs,  # type: ignore[arg-type]
        hub,  # type: ignore[arg-type]
        log,  # type: ignore[arg-type]
        Keys(),
        reply="back",
        shutdown=Shutdown(),
    )
    relays: list[Relay] = []

    async def request() -> None:
        asked = RunRequest(RunId("r"), "echo")
        async with follow.run(asked, Admission(CONFIG.agents["echo"]), AsgiClient(silent)) as relay:
            relays.append(relay)
            events: list[RunEvent] = [*TEXT, *END]
            for seq, event in enumerate(events, 2):
                hub.readers["r"].push(*log.add(seq, event))
                await relay.next(PATIENCE_S)
                await asyncio.sleep(0)

    await cancelled_after(count, request())
    assert hub.readers == {} and alone()
    over = not runs.asked or any(relay.ended for relay in relays)
    assert runs.cancelled == ([] if over else ["r"])


class SlowRuns(FakeRuns):
    asked = False

    async def submit(self, request: RunRequest, admission: Admission) -> None:
        self.asked = True
        await asyncio.sleep(0)
        await super().submit(request, admission)


async def silent() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("nobody leaves")


@pytest.mark.parametrize("count", TICKS)
async def test_a_pipe_that_is_closed_at_any_tick_answers_every_caller(count: int) -> None:
    """Nobody waits for ever for a connection that is no more."""
    scripts = Scripts.build(Keys(), CommonSettings())
    pipe = Pipe(MemoryRedis(), scripts, timeout_s=5.0, name="test")
    await pipe.start()
    replies = []
    for _ in range(count):
        replies.append(pipe.send("PING"))
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_S):
        await pipe.aclose()
        await asyncio.gather(*replies, return_exceptions=True)
    assert alone()
