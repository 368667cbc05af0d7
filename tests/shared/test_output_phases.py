"""Which messages of a run are on the way to its answer, and which one is the answer."""

from typing import Any

import pytest

from trunkline_shared.events import (
    ActivityEnd,
    ActivityStart,
    Attempt,
    Failed,
    Finished,
    ReasoningDelta,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.output import Output
from trunkline_shared.output_items import Closed, Opened

LOOK = (ActivityStart(0, "a", "look", "files"), ActivityEnd(0))
CALL = (ToolCallStart(0, "c", "f"), ToolArgsDelta(0, "{}"))
TEXT = TextDelta("Let me see.")
ANSWER = TextDelta("It is 4.")
COMMENTARY, FINAL = "commentary", "final_answer"


def phases(*events: RunEvent) -> list[Any]:
    """Those of the messages; also checks that a stream tells them when they close."""
    output = Output()
    changes = [change for event in events for change in output.add(event)]
    assert all(change.item.phase is None for change in changes if isinstance(change, Opened))
    closed = {change.index: change.item for change in changes if isinstance(change, Closed)}
    assert [closed[index] for index in sorted(closed)] == [*output.items]
    return [item.phase for item in output.items if item.kind == "message"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((ANSWER, Finished("stop")), [FINAL]),
        ((ANSWER, Finished("length")), [FINAL]),
        ((TEXT, *LOOK, ANSWER, Finished("stop")), [COMMENTARY, FINAL]),
        ((TEXT, Step(), *LOOK, ANSWER, Finished("stop")), [COMMENTARY, FINAL]),
        ((TEXT, *CALL, Finished("tool_calls")), [COMMENTARY]),
        ((TEXT, CALL[0], Finished("tool_calls")), [COMMENTARY]),
        ((*CALL, TEXT, Finished("tool_calls")), [COMMENTARY]),
        ((TEXT, ReasoningDelta("hm"), ANSWER, Finished("stop")), [COMMENTARY, FINAL]),
        ((ReasoningDelta("hm"), ANSWER, Finished("stop")), [FINAL]),
        ((TEXT, Attempt(2), ANSWER, Finished("stop")), [None, FINAL]),
        ((TEXT, Step(), Attempt(2), *LOOK, ANSWER, Finished("stop")), [COMMENTARY, FINAL]),
        ((TEXT, Failed("worker_lost", "It died.")), [None]),
    ],
)
def test_a_message_is_commentary_if_something_follows_and_else_the_answer(
    events: tuple[RunEvent, ...], expected: list[Any]
) -> None:
    assert phases(*events) == expected
