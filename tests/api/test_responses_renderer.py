from typing import Any

import orjson

from tests.api.responses_bodies import body
from trunkline_api.render.response import About
from trunkline_api.render.responses import ResponsesRenderer, render_response
from trunkline_api.responses_echo import echo
from trunkline_api.wire.response_reply import ResponseEvent, ResponseObject
from trunkline_api.wire.responses import parse_responses
from trunkline_shared.events import (
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
    Usage,
)
from trunkline_shared.fold import Fold
from trunkline_shared.run import new_run_id

RUN_ID = new_run_id(1_700_000_000_123)
ABOUT = About(RUN_ID, "team/a:1", echo(parse_responses(body())))
USAGE = Usage(10, 20, 3, 4, 5, 0.25)
ROW = {"token": "ä", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "b", "logprob": 0}]}
ITEM_ID = f"msg_{RUN_ID}_0"


def now_s() -> float:
    return 1_700_000_009.9


def stream(*events: RunEvent, at_once: bool = True) -> list[Any]:
    """The events as values."""
    renderer = ResponsesRenderer(ABOUT, now_s)
    batches = [list(events)] if at_once else [[event] for event in events]
    sent = b"".join(renderer.render(batch) for batch in batches)
    return [_value(block) for block in sent.split(b"\n\n")[:-1]]


def _value(block: bytes) -> Any:
    kind, data = block.split(b"\n")
    value = orjson.loads(data.removeprefix(b"data: "))
    assert kind == b"event: " + value["type"].encode()
    ResponseEvent.model_validate(value, strict=True)
    return value


def whole(*events: RunEvent) -> Any:
    fold = Fold(now_s)
    fold.add(1, events)
    value = orjson.loads(render_response(ABOUT, fold.result()))
    ResponseObject.model_validate(value, strict=True)
    return value


def kinds(*events: RunEvent) -> list[str]:
    return [event["type"].removeprefix("response.") for event in stream(*events)]


HELLO: list[RunEvent] = [
    Created(1),
    Attempt(1),
    TextDelta("Hel"),
    TextDelta('l"o\n\u2028'),
    Finished("stop", USAGE),
]
MIXED: list[RunEvent] = [
    Created(1),
    Attempt(1),
    ReasoningDelta("hm"),
    TextDelta("a"),
    TextDelta("b", [ROW]),
    TextDelta("c"),
    RefusalDelta("no"),
    ToolCallStart(0, "x", "f"),
    ToolCallStart(1, "y", "g", "custom"),
    ToolArgsDelta(1, "l"),
    ToolArgsDelta(0, "{}"),
    ToolArgsDelta(1, "s"),
    TextDelta("d"),
    Finished("tool_calls", USAGE, "m", None, "flex", "fp"),
]


def test_a_text_is_told_in_openais_order() -> None:
    events = stream(*HELLO)
    where = {"item_id": ITEM_ID, "output_index": 0, "content_index": 0}
    text = 'Hell"o\n\u2028'
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    item = {"id": ITEM_ID, "type": "message", "role": "assistant"}
    done = {**item, "status": "completed", "content": [{**empty, "text": text}]}
    done["phase"] = "final_answer"
    assert events[2:-1] == [
        {"type": f"response.{kind}", "sequence_number": number, **more}
        for number, (kind, more) in enumerate(
            [
                (
                    "output_item.added",
                    {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
                ),
                ("content_part.added", {**where, "part": empty}),
                ("output_text.delta", {**where, "delta": "Hel", "logprobs": []}),
                ("output_text.delta", {**where, "delta": 'l"o\n\u2028', "logprobs": []}),
                ("output_text.done", {**where, "text": text, "logprobs": []}),
                ("content_part.done", {**where, "part": {**empty, "text": text}}),
                ("output_item.done", {"output_index": 0, "item": done}),
            ],
            start=2,
        )
    ]
    created, in_progress, *_, completed = events
    assert created["type"] == "response.created"
    assert in_progress["type"] == "response.in_progress"
    for event in (created, in_progress):
        response = event["response"]
        assert (response["status"], response["output"]) == ("in_progress", [])
        assert (response["usage"], response["completed_at"]) == (None, None)
    assert completed["type"] == "response.completed"
    assert completed["response"]["output"] == [done]


def test_how_events_were_batched_does_not_show() -> None:
    assert stream(*MIXED, at_once=False) == stream(*MIXED)


def test_every_item_is_opened_and_closed_once_and_stands_in_the_end_as_it_was() -> None:
    events = stream(*MIXED)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    added = [event for event in events if event["type"] == "response.output_item.added"]
    done = {e["output_index"]: e for e in events if e["type"] == "response.output_item.done"}
    output = events[-1]["response"]["output"]
    assert [event["output_index"] for event in added] == list(range(len(output))) == sorted(done)
    for event, item in zip(added, output, strict=True):
        assert done[event["output_index"]]["item"] == item
        assert event["item"]["status"] == "in_progress" and item["status"] == "completed"
        assert (event["item"]["id"], event["item"]["type"]) == (item["id"], item["type"])
        assert event["item"].get("call_id") == item.get("call_id")
    assert output == whole(*MIXED)["output"]
    assert [item["id"] for item in output] == [
        f"rs_{RUN_ID}_0",
        f"msg_{RUN_ID}_1",
        f"fc_{RUN_ID}_2",
        f"ctc_{RUN_ID}_3",
        f"msg_{RUN_ID}_4",
    ]


def test_deltas_add_up_and_name_their_item() -> None:
    events = stream(*MIXED)
    output = events[-1]["response"]["output"]
    texts: dict[str, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            assert event["item_id"] == output[event["output_index"]]["id"]
            key = f"{event['output_index']}.{event.get('content_index', 0)} {event['type']}"
            texts[key] = texts.get(key, "") + event["delta"]
    assert texts == {
        "0.0 response.reasoning_text.delta": "hm",
        "1.0 response.output_text.delta": "abc",
        "1.1 response.refusal.delta": "no",
        "2.0 response.function_call_arguments.delta": "{}",
        "3.0 response.custom_tool_call_input.delta": "ls",
        "4.0 response.output_text.delta": "d",
    }


def test_what_is_done_says_the_whole_of_it() -> None:
    done = {e["type"].removeprefix("response."): e for e in stream(*MIXED) if "done" in e["type"]}
    assert done["reasoning_text.done"]["text"] == "hm"
    assert done["refusal.done"]["refusal"] == "no"
    arguments = done["function_call_arguments.done"]
    assert (arguments["name"], arguments["arguments"]) == ("f", "{}")
    assert done["custom_tool_call_input.done"]["input"] == "ls"


def test_a_call_without_arguments_is_told_at_the_end() -> None:
    assert kinds(ToolCallStart(0, "a", "f"), Finished("tool_calls"))[2:] == [
        "output_item.added",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_an_answer_without_a_word_has_no_items() -> None:
    assert kinds(Finished("stop")) == ["created", "in_progress", "completed"]
    assert whole(Finished("stop"))["output"] == []


def test_a_lost_worker_closes_its_item_and_another_goes_on_with_a_new_one() -> None:
    call = (ToolCallStart(0, "call_0", "f"), ToolArgsDelta(0, "{"))
    said = (TextDelta("Hel"), *call, Attempt(2), TextDelta("Hello"), *call, Finished("stop", USAGE))
    assert kinds(*said) == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done", "completed"),
    ]
    output = whole(*said)["output"]
    assert stream(*said)[-1]["response"]["output"] == output
    assert [item["status"] for item in output] == [
        "completed",
        "incomplete",
        "completed",
        "completed",
    ]
    assert [output[1]["call_id"], output[3]["call_id"]] == ["call_0", "call_0_2"]


def test_a_call_that_only_began_is_forgotten_by_a_new_attempt() -> None:
    start = ToolCallStart(0, "lost", "f")
    said = (start, Attempt(2, drop_from=1), ToolCallStart(0, "a", "f"), Finished("tool_calls"))
    assert [item["call_id"] for item in stream(*said)[-1]["response"]["output"]] == ["a"]


def test_the_first_bytes_tell_that_the_response_exists() -> None:
    renderer = ResponsesRenderer(ABOUT)
    assert b"response.created" in renderer.render([])
    assert renderer.render([]) == renderer.render([Created(1)]) == b""
    assert b"response.in_progress" in renderer.render([Attempt(1)])
    assert renderer.render([Attempt(2)]) == b""


def test_whatever_shows_output_renders_something() -> None:
    for event in (*MIXED, Failed("server_error", "x")):
        renderer = ResponsesRenderer(ABOUT)
        renderer.render([Attempt(1), ToolCallStart(0, "x", "f"), ToolCallStart(1, "y", "g")])
        assert bool(renderer.render([event])) == ResponsesRenderer.shows_output(event)


def test_the_heartbeat_is_a_comment() -> None:
    assert ResponsesRenderer.heartbeat.startswith(b":")
    assert ResponsesRenderer.heartbeat.endswith(b"\n\n")
