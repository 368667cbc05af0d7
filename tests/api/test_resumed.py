import orjson
import pytest

from trunkline_api.render.response import About
from trunkline_api.render.responses import ResponsesRenderer, render_folded
from trunkline_api.render.resumed import Resumed
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Created,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Fold

ABOUT = About("a1a2167efd783c7ab625d9d08d29", "echo", {"background": True})
EVENTS: list[RunEvent] = [
    *(Created(1), Attempt(1), ReasoningDelta("hm"), TextDelta("a\n\n"), TextDelta("b")),
    *(Attempt(2), TextDelta("c"), RefusalDelta("no")),
    *(ActivityStart(0, "x", "look", "files"), ActivityArgs(0, "{}"), ActivityOutput(0, "out")),
    *(ActivityEnd(0), ActivityStart(1, "y", "look", "files"), ActivityEnd(1, "broke")),
    *(ToolCallStart(0, "call", "f"), ToolArgsDelta(0, "{}"), ToolCallStart(1, "c", "g", "custom")),
    *(ToolArgsDelta(1, "in"), Finished("tool_calls", at_ms=1_700_000_000_000)),
]


def blocks(data: bytes) -> list[bytes]:
    return [block + b"\n\n" for block in data.split(b"\n\n")[:-1]]


WHOLE = blocks(ResponsesRenderer(ABOUT).render(EVENTS))


@pytest.mark.parametrize("after", range(-1, len(WHOLE)))
@pytest.mark.parametrize("size", [1, 3, len(EVENTS)])
def test_a_resumed_stream_is_the_rest_of_the_whole_one(after: int, size: int) -> None:
    resumed = Resumed(ResponsesRenderer(ABOUT), after)
    told = resumed.render(())
    for start in range(0, len(EVENTS), size):
        told += resumed.render(EVENTS[start : start + size])
    assert told == b"".join(WHOLE[after + 1 :])


def test_a_run_in_the_background_is_first_seen_in_its_queue() -> None:
    first = [block.split(b"\n")[0] for block in WHOLE[:3]]
    assert first == [
        b"event: response.created",
        b"event: response.queued",
        b"event: response.in_progress",
    ]
    assert b'"status":"queued"' in WHOLE[0] and b'"status":"in_progress"' in WHOLE[2]


def test_a_stream_that_breaks_says_so_in_both_places_and_loses_no_number() -> None:
    resumed = Resumed(ResponsesRenderer(ABOUT))
    resumed.render(EVENTS[:4])
    name, data = resumed.broken(Failed("api_draining", "Later.")).rstrip().split(b"\ndata: ")
    told = orjson.loads(data)
    assert (name, told["type"], told["code"]) == (b"event: error", "error", "api_draining")
    assert told["error"].keys() == {"message", "type", "param", "code"}
    number = told["sequence_number"]
    again = Resumed(ResponsesRenderer(ABOUT), number)
    assert again.render(EVENTS) == b"".join(WHOLE[number + 1 :])
    assert Resumed(ResponsesRenderer(ABOUT)).broken(Failed("run_lost", "x"))


@pytest.mark.parametrize("size", [1, len(EVENTS)])
def test_a_number_that_no_event_has_is_no_quiet_end(size: int) -> None:
    resumed = Resumed(ResponsesRenderer(ABOUT), len(WHOLE))
    told = resumed.render(())
    for start in range(0, len(EVENTS), size):
        told += resumed.render(EVENTS[start : start + size])
    error = orjson.loads(told.removeprefix(b"event: error\ndata: "))
    assert (error["type"], error["param"]) == ("error", "starting_after")
    assert error["sequence_number"] == len(WHOLE) - 1


def test_a_stream_that_breaks_before_it_came_to_what_is_new_tells_nothing_twice() -> None:
    resumed = Resumed(ResponsesRenderer(ABOUT), 6)
    assert resumed.render(EVENTS[:1]) == b""
    broken = resumed.broken(Failed("redis_unavailable", "Later."))
    assert b'"sequence_number":6' in broken
    resumed.render(EVENTS)
    assert b'"sequence_number":6' not in resumed.broken(Failed("redis_unavailable", "Later."))


def test_the_stream_of_a_result_has_one_delta_a_part_and_ends_as_the_log_does() -> None:
    fold = Fold()
    fold.add(1, EVENTS)
    told = [orjson.loads(block.split(b"\ndata: ")[1]) for block in _folded(fold)]
    logged = [orjson.loads(block.split(b"\ndata: ")[1]) for block in WHOLE]
    assert [event["sequence_number"] for event in told] == [*range(len(told))]
    assert told[-1]["response"] == logged[-1]["response"]
    for kind in ("response.output_item.added", "response.output_item.done"):
        assert [event["item"] for event in told if event["type"] == kind] == sorted(
            [event["item"] for event in logged if event["type"] == kind],
            key=lambda item: int(item["id"].rpartition("_")[2]),
        )
    deltas = [event["delta"] for event in told if event["type"].endswith(".delta")]
    assert deltas == ["hm", "a\n\nb", "c", "no", "{}", "", "{}", "in"]


def _folded(fold: Fold) -> list[bytes]:
    return blocks(render_folded(ABOUT, fold.result()))
