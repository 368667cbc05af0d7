import asyncio
from typing import Any

from tests.patience import PATIENCE_S, until
from tests.worker.dispatch_bench import DispatchBench
from tests.worker.fake_run import ScriptedBackend
from trunkline_shared.events import Failed, Finished, Step, TextDelta
from trunkline_worker.execute import Execution

END = [TextDelta("a"), Finished("stop")]


def held(*before: list[TextDelta]) -> tuple[ScriptedBackend, asyncio.Event]:
    """A backend whose runs wait for the event before they end."""
    go = asyncio.Event()
    return ScriptedBackend(*before, go, END), go


async def test_a_run_is_taken_executed_and_ended() -> None:
    async with DispatchBench(ScriptedBackend(END)) as bench:
        run_id = await bench.bed.submit()
        assert await bench.outcome(run_id) == "finished"
        await until(lambda: not bench.running)
        assert await bench.bed.traces(run_id) == []


async def test_no_more_runs_than_slots_and_the_next_as_soon_as_one_is_free() -> None:
    backend, go = held()
    async with DispatchBench(backend, slots=2) as bench:
        ids = [await bench.bed.submit() for _ in range(5)]
        await until(lambda: len(bench.running) == 2)
        await bench.calls.send("PING")
        assert len(backend.requests) == 2
        go.set()
        assert [await bench.outcome(run_id) for run_id in ids] == ["finished"] * 5


async def test_runs_take_the_slots_of_their_agent() -> None:
    backend, go = held()
    async with DispatchBench(backend, slots=3) as bench:
        for _ in range(3):
            await bench.bed.submit(slots=2)
        await until(lambda: bench.running)
        await bench.calls.send("PING")
        assert len(bench.running) == 1
        go.set()
        await until(lambda: len(backend.requests) == 3)


async def test_a_wake_token_that_comes_when_no_slot_is_free_goes_back() -> None:
    backend, go = held()
    async with DispatchBench(backend, slots=1) as bench:
        await bench.bed.submit()
        await until(lambda: bench.running)
        waiting = await bench.bed.submit()
        async with asyncio.timeout(20):
            while not await bench.bed.tokens():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        go.set()
        assert await bench.outcome(waiting) == "finished"


async def test_a_worker_whose_lease_is_in_doubt_takes_nothing() -> None:
    backend, go = held()
    go.set()
    async with DispatchBench(backend) as bench:
        bench.lease.valid = False
        run_id = await bench.bed.submit()
        await bench.renew()
        await bench.calls.send("PING")
        assert backend.requests == []
        bench.lease.valid = True
        await bench.renew()
        assert await bench.outcome(run_id) == "finished"


async def test_a_cancel_ends_its_run_with_what_was_said() -> None:
    backend, _ = held([TextDelta("so far")])
    async with DispatchBench(backend) as bench:
        run_id = await bench.bed.submit()
        await until(lambda: backend.requests)
        await bench.renew(cancels=(run_id, "unknown"))
        assert await bench.outcome(run_id) == "cancelled"
        assert backend.closed.is_set()
        last = (await bench.bed.events(run_id))[-1]
        assert isinstance(last, Failed) and last.code == "cancelled"


async def test_a_run_that_was_taken_over_is_dropped_without_a_word() -> None:
    backend, _ = held([TextDelta("x")])
    async with DispatchBench(backend) as bench:
        run_id = await bench.bed.submit()
        await until(lambda: bench.running)
        await bench.bed.finish_for(run_id)
        await bench.renew(lost=frozenset([run_id]))
        await until(lambda: not bench.running)
        assert (await bench.bed.state(run_id))["out"] == "failed"


async def test_a_run_whose_log_is_gone_is_ended_in_redis_too() -> None:
    backend, go = held()
    async with DispatchBench(backend) as bench:
        run_id = await bench.bed.submit()
        await until(lambda: bench.running)
        await bench.bed.redis.delete(bench.bed.keys.log(run_id))
        bench.dispatch.lost(run_id, "gone")
        assert await bench.outcome(run_id) == "failed"
        await until(lambda: not bench.running)
        assert await bench.bed.traces(run_id) == []
        go.set()


async def test_what_cannot_be_written_ends_its_run_visibly() -> None:
    async with DispatchBench(ScriptedBackend([TextDelta("\ud83d")], END)) as bench:
        run_id = await bench.bed.submit()
        assert await bench.outcome(run_id) == "failed"
        last = (await bench.bed.events(run_id))[-1]
        assert isinstance(last, Failed) and last.code == "server_error"


async def test_a_run_that_says_more_than_redis_takes_fails_visibly() -> None:
    async with DispatchBench(ScriptedBackend(*[[TextDelta("x" * 9_000)]] * 9, END)) as bench:
        bench.frames.call = lambda *_: asyncio.get_running_loop().create_future()  # type: ignore[method-assign]
        run_id = await bench.bed.submit()
        assert await bench.outcome(run_id) == "failed"
        await until(lambda: not bench.running)


async def test_a_run_of_a_claim_whose_reply_was_lost_is_handed_back() -> None:
    backend, go = held()
    go.set()
    async with DispatchBench(backend) as bench:
        bench.lease.valid = False
        run_id = await bench.bed.submit()
        await bench.bed.claim()
        await bench.renew(held=frozenset([run_id]))
        await bench.calls.send("PING")
        assert (await bench.bed.state(run_id))["st"] == "running"
        bench.lease.valid = True
        await bench.renew(held=frozenset([run_id]))
        assert await bench.outcome(run_id) == "finished"
        assert (await bench.bed.state(run_id))["attempt"] == "2"


async def test_a_claim_whose_reply_is_read_late_is_not_taken_for_lost() -> None:
    backend, go = held()
    go.set()
    async with DispatchBench(backend) as bench:
        arrived, call = asyncio.Event(), bench.calls.call

        async def late(script: Any, *arguments: Any) -> Any:
            reply = await call(script, *arguments)
            if script == "claim" and len(reply) > 1:
                await arrived.wait()
            return reply

        bench.calls.call = lambda *given: asyncio.ensure_future(late(*given))  # type: ignore[method-assign]
        run_id = await bench.bed.submit()
        async with asyncio.timeout(PATIENCE_S):
            while (await bench.bed.state(run_id))["st"] != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        for _ in range(2):
            await bench.renew(held=frozenset([run_id]))
        await bench.calls.send("PING")
        arrived.set()
        assert await bench.outcome(run_id) == "finished"
        assert (await bench.bed.state(run_id))["attempt"] == "1"


async def test_a_run_unknown_once_long_ago_is_not_handed_back_at_once() -> None:
    backend, _ = held()
    async with DispatchBench(backend) as bench:
        bench.lease.valid = False
        run_id = await bench.bed.submit()
        await bench.bed.claim()
        await bench.renew(held=frozenset([run_id]))
        await bench.renew()  # by now Redis and we agreed
        await bench.renew(held=frozenset([run_id]))
        await bench.calls.send("PING")
        assert (await bench.bed.state(run_id))["st"] == "running"
        await bench.bed.finish_for(run_id)


async def test_draining_takes_no_more_and_lets_end_what_runs() -> None:
    backend, go = held()
    async with DispatchBench(backend) as bench:
        run_id = await bench.bed.submit()
        await until(lambda: bench.running)
        draining = asyncio.create_task(bench.dispatch.drain(20))
        await asyncio.sleep(0)
        later = await bench.bed.submit()
        go.set()
        await draining
        assert await bench.outcome(run_id) == "finished"
        assert (await bench.bed.state(later))["st"] == "queued"


async def test_what_cannot_end_in_time_is_handed_back_unless_it_was_shown() -> None:
    backend, _ = held([TextDelta("so far")])
    async with DispatchBench(backend) as bench:
        whole = await bench.bed.submit(stream=False)
        shown = await bench.bed.submit(stream=True)
        await until(lambda: len(backend.requests) == 2)
        await until(lambda: all(each.writer.has_output for each in executions(bench)))
        await bench.dispatch.drain(0.02)
        await bench.task
        assert (await bench.bed.state(whole))["st"] == "queued"
        assert await bench.outcome(shown) == "failed"
        last = (await bench.bed.events(shown))[-1]
        assert isinstance(last, Failed) and last.code == "worker_draining"


async def test_a_stream_whose_last_word_was_recorded_is_handed_back_and_goes_on() -> None:
    said = [TextDelta("I look. "), Step()]
    backend = ScriptedBackend((b"one", said), asyncio.Event())
    async with DispatchBench(backend) as bench:
        run_id = await bench.bed.submit(stream=True)
        await until(lambda: [each for each in executions(bench) if each.writer.first_output_at])
        (writer,) = [each.writer for each in executions(bench)]
        await until(lambda: not writer.buffer and not writer.unacknowledged)
        await bench.dispatch.drain(0.02)
        await bench.task
        assert (await bench.bed.state(run_id))["st"] == "queued"
        assert await bench.bed.journal(run_id) == [b"one"]
        assert (await bench.bed.events(run_id))[-2:] == said


async def test_runs_that_a_claim_brings_after_the_drain_began_are_handed_back() -> None:
    backend, _ = held()
    async with DispatchBench(backend) as bench:
        bench.dispatch._draining = True
        run_id = await bench.bed.submit()
        assert await bench.dispatch._claim() == 0
        state = await bench.bed.state(run_id)
        assert state["st"] == "queued" and bench.running == []
        bench.dispatch._wake.set()


async def test_a_worker_executes_one_suspect_at_a_time() -> None:
    backend, go = held()
    async with DispatchBench(backend, slots=5) as bench:
        bench.lease.valid = False
        ids = [await bench.bed.submit() for _ in range(2)]
        for run_id in ids:
            await bench.bed.set_state(run_id, crashes=2)
            await bench.bed.redis.zrem(bench.bed.keys.queue("default"), run_id)
            await bench.bed.redis.zadd(bench.bed.keys.suspects("default"), {run_id: 1})
        bench.lease.valid = True
        await bench.renew()
        await until(lambda: bench.running)
        await bench.renew()
        await bench.calls.send("PING")
        assert len(backend.requests) == 1
        go.set()
        assert [await bench.outcome(run_id) for run_id in ids] == ["finished"] * 2


def executions(bench: DispatchBench) -> list[Execution]:
    return [*bench.dispatch.executions.values()]
