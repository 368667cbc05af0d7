from typing import Any

from trunkline_shared.config.toolsets import Effect
from trunkline_shared.events import (
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Finished,
    Step,
    Usage,
)
from trunkline_worker.claude_code.progress import UNDONE, UNKNOWN, Call, Progress
from trunkline_worker.claude_code.resuming import closed_calls, go_on

USER = {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "hi"}]}}


def used(call_id: str) -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": call_id}]}}


def result(call_id: str, text: str) -> dict[str, Any]:
    part = {"type": "tool_result", "tool_use_id": call_id, "content": text}
    return {"type": "user", "message": {"content": [part]}}


def call(index: int, effect: Effect = "at_most_once") -> Call:
    return Call(index, f"c{index}", "Bash", "execution", '{"command": "x"}', effect)


def notes(progress: Progress) -> str:
    (block,) = go_on(progress, [])
    return str(block["text"])


def test_a_later_attempt_knows_what_was_recorded() -> None:
    progress, journal = Progress(), list[bytes]()
    progress.remember("s", [USER])
    first, second = call(0), call(1)
    entry, events = progress.step("one ", Usage(5, 2, cost=0.5), [first, second])
    journal.append(entry)
    assert events[0] == Step() and events[1] == ActivityStart(0, "c0", "Bash", "execution")
    progress.remember("s", [used("c0")])
    journal.append(progress.begin(first))
    entry, events = progress.end(first, "out", None)
    journal.append(entry)
    assert events == [ActivityOutput(0, "out"), ActivityEnd(0)]
    journal.append(progress.begin(second))
    journal.append(progress.step("two", Usage(7, 1, cost=0.25), [])[0])
    later = Progress.of(journal)
    assert later == progress and later.resumable
    assert (later.steps, later.text) == (2, "one two")
    assert later.usage == Usage(12, 3, cost=0.75)
    assert later.calls["c0"].ended and not later.calls["c1"].ended
    journal.append(later.finish(Finished("stop", later.usage, "m")))
    assert Progress.of(journal).finished == Finished("stop", later.usage, "m")


def test_what_is_open_is_ended_by_what_is_known_of_it() -> None:
    progress = Progress()
    calls = [call(0), call(1), call(2, "pure"), call(3)]
    progress.step("", Usage(), calls)
    for each in calls[:3]:
        progress.begin(each)
    progress.remember("s", [USER, used("c0"), result("c0", "done")])
    ends = [event for _, events in closed_calls(progress) for event in events]
    assert ends == [
        ActivityOutput(0, "done"),
        ActivityEnd(0),
        ActivityEnd(1, UNKNOWN),
        ActivityEnd(2, UNDONE),
        ActivityEnd(3, UNDONE),
    ]
    text = notes(progress)
    assert text.count("Nobody knows whether it was carried out") == 1
    assert text.count("call it again if you need it") == 2


def test_a_result_that_only_the_journal_has_is_told() -> None:
    progress = Progress()
    one = call(0)
    progress.step("", Usage(), [one])
    progress.end(one, "4711", None)
    assert "gave back:\n4711" in notes(progress)
    progress.remember("s", [used("c0"), result("c0", "4711")])
    assert "4711" not in notes(progress)


def test_of_a_call_that_the_record_has_as_open_the_command_line_speaks_itself() -> None:
    progress = Progress()
    one = call(0)
    progress.step("", Usage(), [one])
    progress.begin(one)
    progress.remember("s", [USER, used("c0")])
    assert "You called" not in notes(progress)


def test_a_new_beginning_forgets_the_record_and_nothing_else() -> None:
    progress = Progress()
    progress.remember("s", [USER])
    journal = [progress.step("", Usage(), [])[0]]
    progress.restart()
    progress.remember("t", [used("c9")])
    journal.append(progress.step("", Usage(), [])[0])
    later = Progress.of(journal)
    assert (later.session, later.entries, later.steps) == ("t", [used("c9")], 2)
