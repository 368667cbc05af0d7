from typing import Any

from tests.api.test_responses_renderer import ABOUT, RUN_ID, USAGE, now_s, stream, whole
from trunkline_api.render.responses import render_folded
from trunkline_shared.events import Attempt, Created, Finished, ReasoningDelta, RunEvent, TextDelta
from trunkline_shared.fold import Fold

SUMMED: list[RunEvent] = [
    Created(1),
    Attempt(1),
    ReasoningDelta("raw"),
    ReasoningDelta("First, ", 0),
    ReasoningDelta("this.", 0),
    ReasoningDelta("Then that.", 1),
    TextDelta("4"),
    Finished("stop", USAGE),
]
ID = f"rs_{RUN_ID}_0"


def about_reasoning(events: list[Any]) -> list[Any]:
    for event in events:
        del event["sequence_number"]
    return [
        event for event in events if event.get("item_id", event.get("item", {}).get("id")) == ID
    ]


def golden() -> list[Any]:
    """All that a stream tells of the reasoning, in order."""
    where = {"item_id": ID, "output_index": 0}
    content, first, second = (
        {**where, "content_index": 0},
        {**where, "summary_index": 0},
        {**where, "summary_index": 1},
    )
    raw = {"type": "reasoning_text", "text": "raw"}
    parts = [{"type": "summary_text", "text": text} for text in ("First, this.", "Then that.")]
    head = {"type": "reasoning", "id": ID}
    added = {"status": "in_progress", "summary": [], "content": [], "encrypted_content": None}
    done = {**added, "status": "completed", "summary": parts, "content": [raw]}
    part, text = "response.reasoning_summary_part", "response.reasoning_summary_text"
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": {**head, **added}},
        {"type": "response.content_part.added", **content, "part": {**raw, "text": ""}},
        {"type": "response.reasoning_text.delta", **content, "delta": "raw"},
        {"type": "response.reasoning_text.done", **content, "text": "raw"},
        {"type": "response.content_part.done", **content, "part": raw},
        {"type": f"{part}.added", **first, "part": {**parts[0], "text": ""}},
        {"type": f"{text}.delta", **first, "delta": "First, "},
        {"type": f"{text}.delta", **first, "delta": "this."},
        {"type": f"{text}.done", **first, "text": "First, this."},
        {"type": f"{part}.done", **first, "part": parts[0]},
        {"type": f"{part}.added", **second, "part": {**parts[1], "text": ""}},
        {"type": f"{text}.delta", **second, "delta": "Then that."},
        {"type": f"{text}.done", **second, "text": "Then that."},
        {"type": f"{part}.done", **second, "part": parts[1]},
        {"type": "response.output_item.done", "output_index": 0, "item": {**head, **done}},
    ]


def test_a_summary_is_told_in_parts_beside_what_was_thought() -> None:
    assert about_reasoning(stream(*SUMMED)) == golden()
    assert whole(*SUMMED)["output"][0] == golden()[-1]["item"]


def test_the_stream_of_a_result_tells_it_with_one_delta_a_part() -> None:
    fold = Fold(now_s)
    fold.add(1, SUMMED)
    told = render_folded(ABOUT, fold.result())
    deltas = [block for block in told.split(b"\n\n") if b"reasoning_summary_text.delta" in block]
    assert [b'"summary_index":%d' % number in deltas[number] for number in (0, 1)] == [True, True]
    assert told.count(b"response.reasoning_summary_part.done\n") == 2


def test_a_lost_worker_leaves_its_summary_incomplete() -> None:
    events = stream(ReasoningDelta("a", 0), Attempt(2), ReasoningDelta("b", 0), Finished("stop"))
    output = events[-1]["response"]["output"]
    assert [(item["status"], item["summary"][0]["text"]) for item in output] == [
        ("incomplete", "a"),
        ("completed", "b"),
    ]
