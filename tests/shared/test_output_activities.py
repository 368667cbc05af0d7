"""What an agent does itself, as items of its output and as a part of the history."""

import orjson
import pytest

from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Failed,
    Finished,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.fold import INTERRUPTED, Fold, Folded, decode, encode, said
from trunkline_shared.output import Output
from trunkline_shared.output_items import (
    Closed,
    Grew,
    Opened,
    OutputItem,
    OutputPart,
    PartClosed,
    PartOpened,
)

START = ActivityStart(0, "a1", "read", "files")
CALL: list[RunEvent] = [START, ActivityArgs(0, '{"path"'), ActivityArgs(0, ':"x"}')]
READ: list[RunEvent] = [*CALL, ActivityOutput(0, "contents"), ActivityEnd(0)]


def folded(*events: RunEvent) -> Folded:
    fold = Fold(lambda: 1.5)
    fold.add(1, events)
    return fold.result()


def told(*events: RunEvent) -> list[tuple[str, str, str]]:
    return [(item.kind, item.status, item.text) for item in folded(*events).items]


def history(*events: RunEvent) -> list[tuple[str, str]]:
    """Type, and text or id, of each item that later turns see."""
    found = []
    for item in said(folded(*events)):
        if item["type"] == "message":
            found.append(("message", "".join(p["text"] for p in item["content"] if "text" in p)))
        else:
            assert item["type"] in ("tool_call", "tool_result")
            found.append((item["type"], item["id"]))
    return found


def test_an_activity_opens_grows_by_arguments_then_output_and_closes() -> None:
    output = Output()
    empty = OutputItem("activity", call_id="a1", name="read", toolset="files")
    assert output.add(START) == [Opened(0, empty)]
    assert output.add(ActivityArgs(0, "{}")) == [Grew(0, 0, "arguments", "{}")]
    assert output.add(ActivityOutput(0, "a")) == [
        PartClosed(0, 0, OutputPart("arguments", "{}")),
        PartOpened(0, 1, "output"),
        Grew(0, 1, "output", "a"),
    ]
    closed, done = output.add(ActivityEnd(0, "broke"))
    assert closed == PartClosed(0, 1, OutputPart("output", "a"))
    assert isinstance(done, Closed)
    assert (done.item.status, done.item.error, done.item.of("output")) == (
        "completed",
        "broke",
        "a",
    )


def test_activities_stand_in_order_with_what_is_said() -> None:
    events = [TextDelta("Let me look."), Step(), *READ, TextDelta("Done."), Finished("stop")]
    assert told(*events) == [
        ("message", "completed", "Let me look."),
        ("activity", "completed", '{"path":"x"}contents'),
        ("message", "completed", "Done."),
    ]


def test_activities_may_go_on_side_by_side() -> None:
    other = ActivityStart(1, "a2", "list", "files")
    first, second = folded(
        START, other, ActivityArgs(1, "[]"), ActivityArgs(0, "{}"), ActivityEnd(1), ActivityEnd(0)
    ).activities
    assert (first.name, first.of("arguments")) == ("read", "{}")
    assert (second.name, second.of("arguments")) == ("list", "[]")
    assert first.status == second.status == "completed"


@pytest.mark.parametrize("end", [Attempt(2), Failed("run_timeout", ""), Finished("length")])
def test_what_did_not_end_is_incomplete_whatever_comes_after_it(end: RunEvent) -> None:
    assert told(*CALL, end) == [("activity", "incomplete", '{"path":"x"}')]


def test_a_new_attempt_goes_on_with_an_activity_that_it_begins_anew_or_takes_up() -> None:
    rest = [ActivityOutput(0, "c"), ActivityEnd(0), Finished("stop")]
    for anew in (CALL, []):
        cut, whole = folded(*CALL, Attempt(2), *anew, *rest).activities
        assert (cut.status, whole.status) == ("incomplete", "completed")
        assert (whole.call_id, whole.of("arguments")) == ("a1_2", '{"path":"x"}')
        assert history(*CALL, Attempt(2), *anew, *rest) == [
            ("tool_call", "a1_2"),
            ("tool_result", "a1_2"),
        ]


def test_more_of_an_activity_that_never_began_is_refused() -> None:
    with pytest.raises(ValueError, match="activity 3"):
        Output().add(ActivityOutput(3, "x"))


def test_what_a_step_recorded_stays_whole_when_the_attempt_ends() -> None:
    events = [TextDelta("a"), ToolCallStart(0, "c", "f"), Step(), *CALL, Attempt(2)]
    assert told(*events) == [
        ("message", "completed", "a"),
        ("function", "completed", ""),
        ("activity", "incomplete", '{"path":"x"}'),
    ]
    output = Output()
    for event in (TextDelta("a"), Step()):
        output.add(event)
    assert not output.in_text
    assert isinstance(output.add(TextDelta("b"))[-1], Grew)
    assert [item.text for item in output.items] == ["a", "b"]


def test_an_activity_is_a_whole_pair_in_the_history() -> None:
    call, result = said(folded(*READ, Finished("stop")))
    assert call == {
        "type": "tool_call",
        "id": "a1",
        "name": "read",
        "arguments": '{"path":"x"}',
        "kind": "function",
        "toolset": "files",
    }
    content = [{"type": "text", "text": "contents"}]
    assert result == {"type": "tool_result", "id": "a1", "content": content, "toolset": "files"}


def test_failed_and_interrupted_activities_have_results_that_say_so() -> None:
    failed = folded(START, ActivityOutput(0, "half"), ActivityEnd(0, "no such file"))
    call, result = said(failed)
    assert call["type"] == "tool_call" and call["arguments"] == "{}"
    assert result["type"] == "tool_result" and result["is_error"]
    assert [part["text"] for part in result["content"] if "text" in part] == [
        "half",
        "no such file",
    ]
    call, result = said(folded(START, ActivityArgs(0, '{"pa'), Finished("length")))
    assert call["type"] == "tool_call" and call["arguments"] == "{}"
    assert result["type"] == "tool_result" and result["is_error"]
    assert result["content"] == [{"type": "text", "text": INTERRUPTED}]


def test_nothing_stands_between_the_callers_calls_and_their_results() -> None:
    events = [ToolCallStart(0, "c", "f"), ToolArgsDelta(0, "{}"), *READ, Finished("tool_calls")]
    assert history(*events) == [("tool_call", "a1"), ("tool_result", "a1"), ("tool_call", "c")]


def test_a_stored_result_keeps_activities_and_the_form_of_all_else() -> None:
    result = folded(TextDelta("a"), *CALL, ActivityEnd(0, "broke"), Finished("stop"))
    assert decode(encode(result)) == result
    message, activity = orjson.loads(encode(result))["items"]
    assert message == ["message", "completed", [["text", "a", None]], "", "", 0]
    assert activity[-2:] == ["files", "broke"]
