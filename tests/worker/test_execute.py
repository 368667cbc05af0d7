import asyncio
from typing import Any

import pytest

from tests.patience import PATIENCE_S, until
from tests.worker.backends import driving
from tests.worker.fake_run import FakePipe, ScriptedBackend, claimed, code_of, execution
from trunkline_shared.events import (
    Failed,
    Finished,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    Usage,
)
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest, encode_job, new_run_id
from trunkline_worker.execute import Claimed
from trunkline_worker.journal import FULL

TEXT = [TextDelta("a")]
END = [Finished("stop")]
STOP = Failed("cancelled", "The run was cancelled.")


def never() -> asyncio.Event:
    return asyncio.Event()


async def test_what_a_backend_says_is_emitted_and_its_end_acknowledged() -> None:
    run, writer = execution()
    assert await run.run(ScriptedBackend(TEXT, [*TEXT, *END])) == "ok"
    assert writer.events == [*TEXT, *TEXT, *END]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([], "server_error"),
        ([TEXT], "server_error"),
        ([TEXT, ZeroDivisionError("bug")], "server_error"),
        ([KeyError("bug")], "server_error"),
        ([TimeoutError("its own")], "server_error"),
        ([asyncio.CancelledError()], "server_error"),
        ([[Failed("upstream_error", "x")]], "upstream_error"),
    ],
    ids=repr,
)
async def test_a_run_ends_visibly_whatever_its_backend_does(script: list[Any], code: str) -> None:
    run, writer = execution()
    assert await run.run(ScriptedBackend(*script)) == "ok"
    assert code_of(writer) == code


async def test_an_agent_that_cannot_run_here_is_said_to_be_unavailable() -> None:
    run, writer = execution(claimed(agent="other"))
    await run.run(ScriptedBackend())
    assert code_of(writer) == "agent_unavailable"


@pytest.mark.parametrize("job", [b"", b"[]", b'{"k":{"request":[]}}'])
async def test_a_job_that_cannot_be_read_fails_its_run_alone(job: bytes) -> None:
    run, writer = execution(claimed(job=job))
    assert await run.run(ScriptedBackend()) == "ok"
    assert code_of(writer) == "server_error"


async def test_a_run_that_says_nothing_in_its_time_fails() -> None:
    run, writer = execution(claimed(remaining_s=0.02))
    backend = ScriptedBackend(never())
    await run.run(backend)
    assert code_of(writer) == "run_timeout"
    assert backend.closed.is_set()


@pytest.mark.parametrize("before", [TEXT, (b"step", [])], ids=["words", "a recorded step"])
async def test_a_run_that_runs_out_of_time_ends_with_what_there_is_and_says_why(
    before: Any,
) -> None:
    run, writer = execution(claimed(remaining_s=0.02))
    backend = ScriptedBackend(before, never())
    await run.run(backend)
    assert writer.events[-1] == Finished("length", detail="limits.timeout_s reached")
    assert backend.closed.is_set()


@pytest.mark.parametrize("runs_out", [True, False])
async def test_what_a_stopped_backend_used_is_told_with_the_end(runs_out: bool) -> None:
    run, writer = execution(claimed(remaining_s=0.02 if runs_out else 60.0))
    backend = ScriptedBackend(TEXT, never())
    backend.used = [Usage(3, 1), Usage(4, 2)]
    task = asyncio.create_task(run.run(backend))
    if not runs_out:
        await until(lambda: bool(writer.events))
        run.stop(STOP)
    await task
    end = writer.events[-1]
    assert isinstance(end, Finished if runs_out else Failed)
    assert end.usage == Usage(7, 3)


async def test_a_stopped_run_keeps_what_it_said_and_closes_its_backend_first() -> None:
    run, writer = execution()
    backend = ScriptedBackend(TEXT, never())
    task = asyncio.create_task(run.run(backend))
    async with asyncio.timeout(PATIENCE_S):
        while not writer.events:  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0)
    run.stop(STOP)
    run.stop(Failed("worker_draining", "x"))
    assert await task == "ok"
    assert writer.events == [*TEXT, STOP]
    assert backend.closed.is_set()


@pytest.mark.parametrize("job", [None, b"unreadable"])
async def test_a_run_that_is_stopped_before_it_began_is_ended(job: bytes | None) -> None:
    run, writer = execution(claimed(job=job))
    run.stop(STOP)
    backend = ScriptedBackend(TEXT, END)
    assert await asyncio.create_task(run.run(backend)) == "ok"
    assert writer.events == [STOP]
    assert backend.requests == []


async def test_a_dropped_run_ends_without_a_word() -> None:
    run, writer = execution()
    backend = ScriptedBackend(TEXT, never())
    task = asyncio.create_task(run.run(backend))
    await asyncio.sleep(0)
    run.drop()
    run.drop()
    assert await task == "dropped"
    assert code_free(writer.events) and writer.closed


def code_free(events: list[Any]) -> bool:
    return not any(isinstance(event, Finished | Failed) for event in events)


async def test_a_run_that_waits_for_its_acknowledgement_can_be_dropped() -> None:
    run, writer = execution()
    writer.silent = True
    task = asyncio.create_task(run.run(ScriptedBackend(END)))
    async with asyncio.timeout(PATIENCE_S):
        while not writer.events:  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0)
    run.drop()
    assert await task == "dropped"


async def test_a_stop_after_the_end_changes_nothing() -> None:
    run, writer = execution()
    writer.silent = True
    task = asyncio.create_task(run.run(ScriptedBackend(TEXT, END)))
    async with asyncio.timeout(PATIENCE_S):
        while END[0] not in writer.events:  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0)
    run.stop(STOP)
    await asyncio.sleep(0)
    writer.ended.set_result("ok")
    assert await task == "ok"
    assert writer.events == [*TEXT, *END]


async def test_a_run_that_redis_does_not_take_any_more_gives_up() -> None:
    run, writer = execution()
    writer.full = True
    backend = ScriptedBackend(TEXT, never())
    assert await run.run(backend) == "refused"
    assert backend.closed.is_set()


async def test_a_cancelled_process_is_no_cancelled_run() -> None:
    run, writer = execution()
    backend = ScriptedBackend(TEXT, never())
    task = asyncio.create_task(run.run(backend))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert code_free(writer.events)


async def test_only_a_stream_has_shown_what_it_said() -> None:
    for stream in (True, False):
        run, writer = execution(claimed(stream=stream))
        assert not run.shown
        writer.emit(TEXT)
        assert run.shown is stream


def test_a_claim_is_read_as_the_script_writes_it() -> None:
    row = [b"r", b"17-5", b"2", b"1500", b"back", b"1", b"0", b"3", b"{}"]
    run = Claimed.parse(row)
    assert run == Claimed("r", 17, 5, 2, 1.5, "back", True, False, 3, b"{}")
    row[3] = b"-1"
    assert Claimed.parse(row).remaining_s is None


async def test_a_backend_that_cannot_be_made_fails_its_run_alone() -> None:
    class Broken(ScriptedBackend):
        def get(self, request: RunRequest) -> ScriptedBackend:
            raise AttributeError("a bug")

    run, writer = execution()
    await run.run(Broken())
    assert code_of(writer) == "server_error"


@pytest.mark.parametrize("said", [TextDelta("\ud83d"), ToolArgsDelta(0, "of no call")])
async def test_what_cannot_be_stored_fails_its_run_alone(said: RunEvent) -> None:
    asked = driving.said("hello")
    request = RunRequest(new_run_id(), "agent", store=True, conversation="c", transcript=[asked])
    job = encode_job(request)
    run, writer = execution(claimed(job=job))
    assert await run.run(ScriptedBackend([said, Finished("stop")])) == "ok"
    assert code_of(writer) == "server_error" and writer.kept is None


def recorded(run: Claimed, *entries: bytes) -> FakePipe:
    pipe = FakePipe()
    pipe.stored["LRANGE", Keys().journal(run.run_id)] = [*entries]
    return pipe


async def test_a_later_attempt_finds_what_was_recorded_and_a_first_one_does_not_look() -> None:
    for attempt, expected in ((2, [b"one", b"two"]), (1, [])):
        claim = claimed(attempt=attempt)
        run, _ = execution(claim, recorded(claim, b"one", b"two"))
        backend = ScriptedBackend(END)
        assert await run.run(backend) == "ok"
        assert [[*journal] for journal in backend.journals] == [expected]


async def test_what_is_recorded_without_a_word_is_a_step() -> None:
    run, writer = execution()
    await run.run(ScriptedBackend((b"one", TEXT), (b"two", []), END))
    assert writer.events == [*TEXT, Step(), *END]
    assert writer.recorded == [b"one", b"two"]


async def test_a_run_goes_on_when_its_journal_is_full_and_cannot_go_back() -> None:
    run, writer = execution(claimed(stream=False))
    assert run.repeatable
    await run.run(ScriptedBackend((b"x" * 99, []), (b"yy", []), (b"z", []), END))
    assert writer.recorded == [b"x" * 99, FULL]
    assert writer.events == [Step(), Step(), Step(), *END]
    assert not run.repeatable


@pytest.mark.parametrize(
    ("reply", "on_lost", "repeatable"),
    [("", "continue", True), ("back", "continue", False), ("", "fail", False)],
)
async def test_what_was_shown_of_a_run_in_the_background_goes_on_elsewhere(
    reply: str, on_lost: Any, repeatable: bool
) -> None:
    request = RunRequest(new_run_id(), "agent", reply=reply, on_lost=on_lost)
    run, writer = execution(claimed(job=encode_job(request)))
    task = asyncio.create_task(run.run(ScriptedBackend(TEXT, never())))
    await until(lambda: writer.events)
    assert writer.has_output and run.repeatable is repeatable
    run.drop()
    await task


async def test_a_run_that_has_its_end_is_not_repeated_while_it_waits_for_the_acknowledgement() -> (
    None
):
    run, writer = execution(claimed(stream=False))
    writer.silent = True
    task = asyncio.create_task(run.run(ScriptedBackend(END)))
    await until(lambda: writer.events)
    assert not run.repeatable
    run.drop()
    await task


async def test_what_earlier_attempts_recorded_takes_its_room() -> None:
    claim = claimed(attempt=2)
    run, writer = execution(claim, recorded(claim, b"x" * 99))
    await run.run(ScriptedBackend((b"yy", []), END))
    assert writer.recorded == [FULL]
