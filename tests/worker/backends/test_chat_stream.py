import json
from typing import Any

import pytest

from trunkline_shared.events import (
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_worker.backends.chat_stream import ChatStream

DONE = b"data: [DONE]\n\n"


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return sse({"model": "m", "choices": [choice], **more})


def sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def text(content: str) -> bytes:
    return chunk({"content": content})


def fed(*parts: bytes, limit: int | None = None) -> tuple[ChatStream, list[RunEvent]]:
    stream = ChatStream(limit)
    return stream, [event for part in parts for event in stream.feed(part)]


ANSWER = (
    chunk({"role": "assistant", "content": ""})
    + chunk({"reasoning_content": "hm"})
    + text("naïve ")
    + text("🌍")
    + chunk({}, "stop")
    + sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    + DONE
)
EVENTS = [ReasoningDelta("hm"), TextDelta("naïve "), TextDelta("🌍")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_an_answer_may_be_split_anywhere(size: int, ends: bytes) -> None:
    data = ANSWER.replace(b"\n", ends)
    stream, events = fed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert events == EVENTS
    assert (stream.finish, stream.done, stream.garbage) == ("stop", True, False)
    assert stream.usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_comments_other_fields_and_a_missing_space_are_no_trouble() -> None:
    noise = b": ping\n\nevent: x\nid: 1\nretry: 5\n\ndata:\n\n"
    stream, events = fed(noise + ANSWER.replace(b"data: ", b"data:"))
    assert events == EVENTS and not stream.garbage


def test_nothing_of_the_first_chunk_is_lost() -> None:
    delta = {"role": "assistant", "content": "all", "reasoning": "r", "refusal": "no"}
    stream, events = fed(chunk(delta, "length", usage={"completion_tokens": 1}))
    assert events == [ReasoningDelta("r"), TextDelta("all"), RefusalDelta("no")]
    assert stream.finish == "length"
    assert stream.usage == {"completion_tokens": 1}


def test_log_probabilities_travel_with_their_text_even_when_it_is_empty() -> None:
    rows = [{"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": []}]
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": rows}}
    bare = {"index": 0, "delta": {"content": ""}, "logprobs": {"content": rows}}
    _, events = fed(sse({"choices": [choice]}), sse({"choices": [bare]}))
    assert events == [TextDelta("a", rows), TextDelta("", rows)]


def test_other_choices_than_the_first_are_passed_over() -> None:
    second = {"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}
    first = {"index": 0, "delta": {"content": "yes"}, "finish_reason": None}
    stream, events = fed(sse({"choices": [second, first]}), sse({"choices": [second]}))
    assert events == [TextDelta("yes")] and stream.finish is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
    ],
)
def test_finish_reasons(theirs: str, ours: str) -> None:
    assert fed(chunk({}, theirs))[0].finish == ours


def test_without_a_finish_reason_the_done_mark_ends_the_answer() -> None:
    assert fed(text("a"))[0].finish is None
    assert fed(text("a") + DONE)[0].finish == "stop"
    calls = [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}]
    assert fed(chunk({"tool_calls": calls}) + DONE)[0].finish == "tool_calls"


def test_old_function_calls_are_tool_calls() -> None:
    _, events = fed(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
    )
    start = events[0]
    assert isinstance(start, ToolCallStart) and start.name == "f" and start.call_id
    assert events[1:] == [ToolArgsDelta(0, "{}")]


def test_an_answer_in_parts_keeps_its_thinking_apart() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    _, events = fed(chunk({"content": [thinking, {"type": "text", "text": "a"}]}))
    assert events == [ReasoningDelta("hm"), TextDelta("a")]


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: {not json\n",
        b"<html>\n",
        b"data: 5\n",
        b'data: {"choices": [1]}\n',
        b'data: {"choices": 7}\n',
        chunk({"content": 5}),
        chunk({"tool_calls": [5]}),
        chunk({"tool_calls": 5}),
        chunk({"content": [{"type": "text"}]}),
        chunk("text"),
    ],
)
def test_garbage_is_noticed_and_what_came_before_is_kept(garbage: bytes) -> None:
    stream, events = fed(text("a") + garbage + text("b"))
    assert events == [TextDelta("a")]
    assert stream.garbage and stream.done


def test_a_line_without_an_end_is_garbage() -> None:
    stream = ChatStream()
    for _ in range(40):
        stream.feed(b"x" * 1024 * 1024)
    assert stream.garbage


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"message": "boom"}},
        {"error": {"message": "boom"}, "choices": [{"delta": {}, "finish_reason": "error"}]},
        {"object": "error", "message": "boom"},
    ],
)
def test_an_error_in_the_stream_ends_it(value: dict[str, Any]) -> None:
    stream, events = fed(text("a") + sse(value) + text("b"))
    assert events == [TextDelta("a")]
    assert stream.done and stream.error["message"] == "boom"


def test_an_upstream_that_ignores_the_limit_is_cut() -> None:
    stream, events = fed(*(text("word ") for _ in range(50)), limit=10)
    assert len(events) == 10
    assert (stream.finish, stream.done, stream.output_tokens) == ("length", True, 10)


def test_an_upstream_that_counts_otherwise_is_not_cut_by_mistake() -> None:
    letters, _ = fed(*(text("a") for _ in range(40)), limit=10)  # ten tokens, by letters
    blocks, _ = fed(*(text(" " * 40) for _ in range(10)), limit=10)  # ten long tokens
    assert not letters.over_limit and not blocks.over_limit


def test_thoughts_and_arguments_count_towards_the_limit() -> None:
    parts = (chunk({"reasoning_content": "thought "}) for _ in range(50))
    assert fed(*parts, limit=10)[0].over_limit


def test_metadata_comes_from_the_first_and_the_last_chunk() -> None:
    stream, _ = fed(
        chunk({"content": "a"}, service_tier="auto", system_fingerprint="f"),
        chunk({}, "stop", service_tier="priority"),
    )
    assert (stream.model, stream.service_tier, stream.system_fingerprint) == ("m", "priority", "f")


def test_a_whole_answer_is_read_like_a_stream() -> None:
    message = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "r",
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    stream = ChatStream()
    events = stream.feed_whole(json.dumps({"choices": [choice], "usage": {"a": 1}}).encode())
    assert events == [
        ReasoningDelta("r"),
        TextDelta("a"),
        ToolCallStart(0, "1", "f"),
        ToolArgsDelta(0, "{}"),
    ]
    assert (stream.finish, stream.usage, stream.done) == ("tool_calls", {"a": 1}, True)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b"[]", b'{"choices": []}'])
def test_a_whole_answer_that_says_nothing_is_garbage(body: bytes) -> None:
    stream = ChatStream()
    assert stream.feed_whole(body) == []
    assert stream.garbage and stream.finish is None
