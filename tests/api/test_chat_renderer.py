from itertools import permutations
from typing import Any

import orjson
import pytest

from trunkline_api.render.chat import ChatRenderer
from trunkline_api.wire.chat_reply import ChatCompletionChunk
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
from trunkline_shared.frame import decode_frame, encode_frame, open_frame
from trunkline_shared.run import new_run_id

RUN_ID = new_run_id(1_700_000_000_123)
USAGE = Usage(10, 20, 3, 4, 5, 0.25)
ROW = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}


def stream(*events: RunEvent, include_usage: bool = False, at_once: bool = True) -> list[Any]:
    """The chunks as values; `[DONE]` stays a string."""
    renderer = ChatRenderer(RUN_ID, "team/a:1", include_usage=include_usage)
    batches = [list(events)] if at_once else [[event] for event in events]
    sent = b"".join(renderer.render(batch) for batch in batches)
    return [_value(block) for block in sent.split(b"\n\n")[:-1]]


def _value(block: bytes) -> Any:
    assert block.startswith(b"data: ")
    assert b"\n" not in block
    data = block.removeprefix(b"data: ")
    if data == b"[DONE]":
        return "[DONE]"
    value = orjson.loads(data)
    if "error" not in value:
        ChatCompletionChunk.model_validate(value, strict=True)
    return value


def deltas(*events: RunEvent) -> list[Any]:
    chunks = stream(*events)
    return [c["choices"][0]["delta"] for c in chunks if isinstance(c, dict) and c["choices"]]


def test_a_text_is_chunks_with_one_identity_one_role_one_reason_and_done() -> None:
    head = {
        "id": f"chatcmpl-{RUN_ID}",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "team/a:1",
    }

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "choices": [choice]}

    assert stream(
        Created(1), Attempt(1), TextDelta("Hel"), TextDelta('l"o\n\u2028'), Finished("stop", USAGE)
    ) == [
        chunk({"role": "assistant", "content": "Hel"}),
        chunk({"content": 'l"o\n\u2028'}),
        chunk({}, "stop"),
        "[DONE]",
    ]


def test_with_usage_it_is_null_until_the_one_chunk_after_the_reason() -> None:
    *chunks, last, done = stream(TextDelta("a"), Finished("stop", USAGE), include_usage=True)
    assert [chunk["usage"] for chunk in chunks] == [None, None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 5,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "cost": 0.25,
    }
    assert done == "[DONE]"


def test_without_usage_no_chunk_has_the_key() -> None:
    assert all("usage" not in c for c in stream(TextDelta("a"), Finished("stop")) if c != "[DONE]")


def test_an_unknown_price_is_null() -> None:
    usage = stream(Finished("stop", Usage(1, 2)), include_usage=True)[-2]["usage"]
    assert usage["cost"] is None


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
    ToolArgsDelta(0, "{"),
    ToolArgsDelta(1, "s"),
    TextDelta("d"),
    Finished("tool_calls", USAGE, "m", None, "default", "fp"),
]


def test_how_events_were_batched_does_not_show() -> None:
    assert stream(*MIXED, at_once=False) == stream(*MIXED)


def test_exactly_one_role_and_one_reason_whatever_comes() -> None:
    assert sum("role" in delta for delta in deltas(*MIXED)) == 1
    assert "role" in deltas(*MIXED)[0]
    reasons = [c["choices"][0]["finish_reason"] for c in stream(*MIXED) if c != "[DONE]"]
    assert [reason for reason in reasons if reason] == ["tool_calls"]
    assert reasons[-1] == "tool_calls"


def test_reasoning_and_refusal_have_members_of_their_own() -> None:
    assert deltas(ReasoningDelta("h"), ReasoningDelta("m"), RefusalDelta("no"), TextDelta("a")) == [
        {"role": "assistant", "content": None, "reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"refusal": "no"},
        {"content": "a"},
    ]


def test_the_parts_of_a_summary_are_told_apart() -> None:
    said: list[RunEvent] = [
        ReasoningDelta("First, ", 0),
        ReasoningDelta("this.", 0),
        ReasoningDelta("Then that.", 2),
        TextDelta("4"),
        ReasoningDelta("More.", 0),
        Finished("stop"),
    ]
    told = [delta["reasoning_content"] for delta in deltas(*said) if "reasoning_content" in delta]
    assert told == ["First, ", "this.", "\n\nThen that.", "More."]
    fold = Fold()
    fold.add(1, said)
    assert fold.result().reasoning == "".join(told)


def test_an_answer_without_a_word_still_has_a_role() -> None:
    assert deltas(Finished("stop")) == [{"role": "assistant", "content": ""}, {}]


def function_delta(index: int, arguments: str, **once: str) -> dict[str, Any]:
    name = {"name": once.pop("name")} if "name" in once else {}
    return {"index": index, **once, "function": {**name, "arguments": arguments}}


def test_a_call_names_itself_once_and_has_its_index_and_object_always() -> None:
    first, *rest, end = deltas(
        ToolCallStart(0, "call_a", "f"),
        ToolArgsDelta(0, '{"a":'),
        ToolArgsDelta(0, "1}"),
        ToolCallStart(1, "call_b", "g"),
        ToolArgsDelta(1, "{}"),
        Finished("tool_calls"),
    )
    named = function_delta(0, '{"a":', id="call_a", type="function", name="f")
    assert first == {"role": "assistant", "content": None, "tool_calls": [named]}
    assert [delta["tool_calls"] for delta in rest] == [
        [function_delta(0, "1}")],
        [function_delta(1, "{}", id="call_b", type="function", name="g")],
    ]
    assert end == {}


def test_calls_that_began_together_leave_in_their_order() -> None:
    starts = [ToolCallStart(0, "a", "f"), ToolCallStart(1, "b", "g")]
    for index in (0, 1):
        said = deltas(*starts, ToolArgsDelta(index, "{}"), ToolArgsDelta(1 - index, "[]"))
        rows = [delta["tool_calls"][0] for delta in said]
        assert [row["index"] for row in rows] == [0, 1, 1 - index]
        assert [row.get("id") for row in rows] == ["a", "b", None]
        joined = {
            n: "".join(r["function"]["arguments"] for r in rows if r["index"] == n) for n in (0, 1)
        }
        assert joined == {index: "{}", 1 - index: "[]"}


def test_a_call_without_arguments_is_shown_at_the_end() -> None:
    [first, end] = deltas(ToolCallStart(0, "a", "f"), Finished("tool_calls"))
    assert first["tool_calls"] == [function_delta(0, "", id="a", type="function", name="f")]
    assert end == {}


def test_a_custom_call_carries_its_input() -> None:
    first, second = deltas(
        ToolCallStart(0, "a", "shell", "custom"), ToolArgsDelta(0, "l"), ToolArgsDelta(0, "s")
    )
    assert first["tool_calls"] == [
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "shell", "input": "l"}}
    ]
    assert second["tool_calls"] == [{"index": 0, "custom": {"input": "s"}}]


def test_a_call_that_only_began_is_forgotten_by_a_new_attempt() -> None:
    said = deltas(
        ToolCallStart(0, "lost", "f"), Attempt(2), ToolCallStart(0, "a", "f"), ToolArgsDelta(0, "x")
    )
    assert [delta["tool_calls"][0]["id"] for delta in said] == ["a"]


def test_logprobs_stand_beside_their_text() -> None:
    first, second, *_ = stream(TextDelta("a", [ROW]), TextDelta("b"))
    assert first["choices"][0]["logprobs"] == {"content": [ROW], "refusal": None}
    assert second["choices"][0]["logprobs"] is None


def test_tier_and_fingerprint_are_told_when_they_are_known() -> None:
    known = Finished("stop", service_tier="flex", system_fingerprint="fp_1")
    _, end, usage, _ = stream(known, include_usage=True)
    for chunk in (end, usage):
        assert (chunk["service_tier"], chunk["system_fingerprint"]) == ("flex", "fp_1")
    assert "service_tier" not in stream(Finished("stop"))[1]


def test_a_failure_is_one_error_chunk_and_no_done() -> None:
    *_, last = stream(TextDelta("a"), Failed("worker_lost", "The worker died."))
    error = {
        "message": "The worker died.",
        "type": "server_error",
        "param": None,
        "code": "worker_lost",
    }
    assert last == {"error": error}


def test_what_shows_nothing_renders_nothing_and_the_other_way_round() -> None:
    samples: list[RunEvent] = [*MIXED, Failed("server_error", "x")]
    for event in samples:
        renderer = ChatRenderer(RUN_ID, "m", include_usage=False)
        assert bool(renderer.render([event])) == renderer.shows_output(event)


def test_the_heartbeat_is_a_comment() -> None:
    assert ChatRenderer.heartbeat.startswith(b":")
    assert ChatRenderer.heartbeat.endswith(b"\n\n")


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize(
    "before",
    [[], [TextDelta("x")], [ToolCallStart(0, "c", "f")], [ReasoningDelta("why")]],
    ids=repr,
)
def test_texts_that_were_never_decoded_are_rendered_as_those_that_were(
    before: list[RunEvent], include_usage: bool
) -> None:
    pieces = [
        "",
        '"',
        ",",
        '","',
        "\\",
        '\\"',
        "]",
        '"],["',
        "é\u2028\n\t\x00\x7f",
        "a long word " * 4,
    ]
    for texts in permutations(pieces, 3):
        frame = encode_frame(3, [*map(TextDelta, texts), Finished("stop")])
        straight = ChatRenderer(RUN_ID, "m", include_usage=include_usage)
        decoded = ChatRenderer(RUN_ID, "m", include_usage=include_usage)
        assert straight.render(before) == decoded.render(before)
        sent = straight.render(open_frame(frame)[1])
        assert sent == decoded.render(decode_frame(frame)[1])
        assert sent.endswith(b"data: [DONE]\n\n")
