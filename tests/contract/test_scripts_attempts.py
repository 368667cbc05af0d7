"""What a reader was shown decides how a run goes on after its worker died."""

import pytest

from tests.contract.script_bed import Bed
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)


async def crash_after(bed: Bed, *said: RunEvent, stream: bool, on_lost: str = "fail") -> str:
    """A run whose first worker said this and died, once another has claimed."""
    await bed.renew("w1")
    run_id = await bed.submit(stream=stream, on_lost=on_lost)
    (run,) = await bed.claim("w1")
    if said:
        assert await bed.append(run, 3, *said) == "added"
    await bed.crash("w1")
    await bed.renew("w2")
    return run_id


SHOWN: list[list[RunEvent]] = [
    [TextDelta("he")],
    [ReasoningDelta("hm")],
    [RefusalDelta("no")],
    [ToolCallStart(0, "c", "f"), ToolArgsDelta(0, "{")],
]


@pytest.mark.parametrize("said", SHOWN, ids=lambda said: type(said[-1]).__name__)
async def test_a_stream_that_has_shown_something_ends_with_worker_lost(
    bed: Bed, said: list[RunEvent]
) -> None:
    run_id = await crash_after(bed, *said, stream=True)
    assert await bed.claim("w2") == []
    *before, attempt, failed = await bed.events(run_id)
    assert before[-len(said) :] == said
    assert attempt == Attempt(2)
    assert isinstance(failed, Failed) and failed.code == "worker_lost"
    assert await bed.traces(run_id) == []
    assert (await bed.state(run_id))["st"] == "done"


async def test_a_stream_that_has_shown_nothing_is_retried_in_silence(bed: Bed) -> None:
    run_id = await crash_after(bed, stream=True)
    (run,) = await bed.claim("w2")
    assert (run.run_id, run.attempt, run.last_seq) == (run_id, 2, 3)
    assert (await bed.events(run_id))[-1] == Attempt(2)


async def test_the_bare_start_of_a_tool_call_counts_as_not_shown_and_is_dropped(bed: Bed) -> None:
    run_id = await crash_after(bed, ToolCallStart(0, "c", "f"), stream=True)
    await bed.claim("w2")
    assert (await bed.events(run_id))[-1] == Attempt(2, drop_from=3)


@pytest.mark.parametrize("said", SHOWN, ids=lambda said: type(said[-1]).__name__)
async def test_what_a_whole_reply_has_gathered_is_dropped_and_the_run_retried(
    bed: Bed, said: list[RunEvent]
) -> None:
    run_id = await crash_after(bed, *said, stream=False)
    (run,) = await bed.claim("w2")
    assert run.last_seq == 3 + len(said)
    assert (await bed.events(run_id))[-1] == Attempt(2, drop_from=3)


async def test_what_was_dropped_before_is_not_dropped_again(bed: Bed) -> None:
    run_id = await crash_after(bed, TextDelta("old"), stream=False)
    (second,) = await bed.claim("w2")
    await bed.append(second, second.last_seq + 1, TextDelta("new"), TextDelta("er"))
    await bed.hand_back("w2", run_id)
    (third,) = await bed.claim("w2")
    assert (await bed.events(run_id))[-1] == Attempt(3, drop_from=second.last_seq + 1)
    await bed.hand_back("w2", run_id)
    await bed.claim("w2")
    assert third.last_seq == second.last_seq + 3
    assert (await bed.events(run_id))[-1] == Attempt(4)


async def test_who_can_go_on_after_a_loss_gets_another_attempt_with_nothing_dropped(
    bed: Bed,
) -> None:
    run_id = await crash_after(bed, TextDelta("he"), stream=True, on_lost="continue")
    (run,) = await bed.claim("w2")
    assert run.attempt == 2
    assert (await bed.events(run_id))[-1] == Attempt(2)


async def test_a_second_reader_makes_a_run_a_streamed_one(bed: Bed) -> None:
    run_id = await crash_after(bed, TextDelta("he"), stream=False)
    await bed.set_state(run_id, stream=1)
    assert await bed.claim("w2") == []
    assert (await bed.state(run_id))["st"] == "done"


CALLS: list[RunEvent] = [
    ActivityStart(0, "c0", "f", "tools"),
    ActivityArgs(0, "{}"),
    ActivityStart(1, "c1", "g", "tools"),
    ActivityOutput(1, "working"),
    ActivityOutput(0, "done"),
    ActivityEnd(0),
]


async def record(bed: Bed, *said: RunEvent, stream: bool = True) -> str:
    """As `crash_after`, of a run that has recorded a step: these events and those of its calls."""
    await bed.renew("w1")
    run_id = await bed.submit(stream=stream)
    (run,) = await bed.claim("w1")
    assert await bed.record(run, 3, b"entry", TextDelta("I look. "), Step()) == "added"
    if said:
        assert await bed.append(run, 5, *said) == "added"
    await bed.crash("w1")
    await bed.renew("w2")
    return run_id


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("said", [[], CALLS], ids=["alone", "and calls"])
async def test_a_recorded_step_is_neither_dropped_nor_does_it_count_as_shown(
    bed: Bed, said: list[RunEvent], stream: bool
) -> None:
    run_id = await record(bed, *said, stream=stream)
    (run,) = await bed.claim("w2")
    assert run.attempt == 2
    assert (await bed.events(run_id))[2:] == [TextDelta("I look. "), Step(), *said, Attempt(2)]


@pytest.mark.parametrize("said", SHOWN, ids=lambda said: type(said[-1]).__name__)
async def test_of_the_step_after_it_is_dropped_what_was_not_shown(
    bed: Bed, said: list[RunEvent]
) -> None:
    run_id = await record(bed, *CALLS, *said, stream=False)
    await bed.claim("w2")
    assert (await bed.events(run_id))[-1] == Attempt(2, drop_from=5 + len(CALLS))


@pytest.mark.parametrize("said", SHOWN, ids=lambda said: type(said[-1]).__name__)
async def test_what_the_step_after_it_has_shown_ends_a_stream(
    bed: Bed, said: list[RunEvent]
) -> None:
    run_id = await record(bed, *CALLS, *said)
    assert await bed.claim("w2") == []
    last = (await bed.events(run_id))[-1]
    assert isinstance(last, Failed) and last.code == "worker_lost"


async def test_each_attempt_drops_its_own_unfinished_step_and_no_other(bed: Bed) -> None:
    run_id = await record(bed, TextDelta("half"), stream=False)
    (second,) = await bed.claim("w2")
    assert (await bed.events(run_id))[-1] == Attempt(2, drop_from=5)
    seq = second.last_seq + 1
    assert await bed.record(second, seq, b"two", TextDelta("whole"), Step()) == "added"
    await bed.append(second, seq + 2, TextDelta("of the third"))
    await bed.crash("w2")
    await bed.renew("w3")
    assert [run.attempt for run in await bed.claim("w3")] == [3]
    assert (await bed.events(run_id))[-1] == Attempt(3, drop_from=seq + 2)


async def test_a_stream_whose_last_word_was_recorded_is_not_stranded(bed: Bed) -> None:
    run_id = await record(bed, *CALLS)
    await bed.set_state(run_id, back=1)
    assert await bed.sweep() == (0, 0, 0)
    assert (await bed.state(run_id))["st"] == "queued"


@pytest.mark.parametrize("recorded", [True, False])
async def test_however_long_its_log_is_the_unfinished_step_is_found(
    bed: Bed, recorded: bool
) -> None:
    await bed.renew("w1")
    run_id = await bed.submit()
    (run,) = await bed.claim("w1")
    for seq in range(3, 103):
        await bed.append(run, seq, TextDelta("a"))
    if recorded:
        await bed.record(run, 103, b"entry", Step())
    else:
        await bed.append(run, 103, ActivityEnd(0))
    for seq in range(104, 204):
        await bed.append(run, seq, TextDelta("b"))
    await bed.crash("w1")
    await bed.renew("w2")
    await bed.claim("w2")
    assert (await bed.events(run_id))[-1] == Attempt(2, drop_from=104 if recorded else 3)


async def test_steps_are_found_behind_what_an_earlier_attempt_dropped(bed: Bed) -> None:
    run_id = await record(bed, TextDelta("half"), stream=False)
    await bed.claim("w2")
    await bed.redis.delete(bed.keys.journal(run_id))
    await bed.crash("w2")
    await bed.renew("w3")
    assert await bed.claim("w3") == []
    last = (await bed.events(run_id))[-1]
    assert isinstance(last, Failed) and last.code == "worker_lost"


# One row for many text deltas in a row, each an event of its own.
PACKED = b'[3,["call",0,"c","f","function"],["T","he","l","lo"],["t","!"]]'


async def test_a_packed_row_of_text_shows_something(bed: Bed) -> None:
    run_id = await crash_after_packed(bed, stream=True)
    assert await bed.claim("w2") == []
    assert (
        b'"worker_lost"' in (await bed.redis.xrevrange(bed.keys.log(run_id), count=1))[0][1][b"f"]
    )


async def test_each_text_of_a_packed_row_counts_as_an_event(bed: Bed) -> None:
    run_id = await crash_after_packed(bed, stream=False)
    (second,) = await bed.claim("w2")
    assert second.last_seq == 8
    packed = b'[9,["attempt",9,9],["T","a","b"],["t","c"]]'
    assert await bed.call("append", "", "0", run_id, f"{second.epoch}-12", packed) == b"added"
    await bed.hand_back("w2", run_id)
    (third,) = await bed.claim("w2")
    assert third.last_seq == 13
    ((_, newest),) = await bed.redis.xrevrange(bed.keys.log(run_id), count=1)
    assert newest[b"f"] == b'[13,["attempt",3,10]]'


async def crash_after_packed(bed: Bed, *, stream: bool) -> str:
    await bed.renew("w1")
    run_id = await bed.submit(stream=stream)
    (run,) = await bed.claim("w1")
    assert await bed.call("append", "", "0", run_id, f"{run.epoch}-7", PACKED) == b"added"
    await bed.crash("w1")
    await bed.renew("w2")
    return run_id
