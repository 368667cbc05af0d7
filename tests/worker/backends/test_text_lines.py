"""Whatever an upstream sends, lines read in bulk say what they say when each is parsed."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from trunkline_shared.events import RunEvent, TextDelta
from trunkline_shared.frame import Texts
from trunkline_worker.backends.chat_stream import ChatStream

TEXTS = (
    *("word ", " a", "naïve", "🌍", "", "\n", "\t\x7f", '"quoted"', "\\", "\\n", "back\\", '\\"'),
    *('","', '"}', "data: ", '{"content":"x"}', "\ud83d".encode("utf-16", "surrogatepass").hex()),
    *("\u2028", "\x00", "x" * 300, "probe", "null", "content"),
)
RAW = (  # what stands in the literal's place, valid or not
    *(b"\\u00e9", b"\\ud83c\\udf0d", b"\\ud83d", b"a\\/b", b"\xff", b"\xc3", b"\xc3\xa9", b'a"b'),
    *(b"tail\\", b"a\tb", b"\\x", b'","finish_reason":"stop","x":"', b'"},"delta":{"content":"y'),
)
Row = tuple[dict[str, Any] | bytes, bool]


def delta(rng: random.Random) -> dict[str, Any]:
    more: list[dict[str, Any]] = [
        {"role": "assistant"},
        {"reasoning_content": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]},
        {"tool_calls": None, "reasoning": None},
        {"content": [{"type": "text", "text": "part"}]},
    ]
    found: dict[str, Any] = {"content": rng.choice(TEXTS)}
    return found | rng.choice(more) if rng.random() < 0.1 else found


def chunk(rng: random.Random, head: dict[str, Any]) -> dict[str, Any]:
    """Mostly one text, now and then anything else."""
    choice: dict[str, Any] = {"index": 0, "delta": delta(rng), "finish_reason": None}
    plain: dict[str, Any] = {**head, "choices": [choice]}
    odd: list[dict[str, Any]] = [
        {"choices": [{**choice, "logprobs": {"content": [{"token": "a"}]}}]},
        {"choices": [{**choice, "finish_reason": "length"}]},
        {"choices": [choice, {**choice, "index": 1}]},
        {"choices": [{**choice, "index": 1}]},
        {"usage": {"completion_tokens": rng.randrange(9)}},
        {"error": {"message": "boom"}},
        {"content": choice["delta"]["content"]},
        {"tail": choice["delta"]["content"]},
    ]
    return plain | rng.choice(odd) if rng.random() < 0.1 else plain


def chunks(rng: random.Random) -> list[dict[str, Any]]:
    head: dict[str, Any] = {"id": rng.choice(TEXTS), "created": 17, "model": "m"}
    found = []
    for _ in range(rng.randrange(40)):
        if rng.random() < 0.03:
            head["created"] += 1
        if rng.random() < 0.01:
            head.pop("model", None)
        found.append(chunk(rng, head))
    return found


def streams(rng: random.Random) -> tuple[bytes, bytes]:
    """The same chunks twice; in the second no line is like another, so that each is parsed."""
    style = {
        "ensure_ascii": rng.random() < 0.3,
        "separators": rng.choice([(",", ":"), (", ", ": ")]),
    }
    end = rng.choice([b"\n\n", b"\n\n", b"\r\n\r\n", b"\n", b"\n: ping\n\n"])
    lead = rng.choice([b"data: ", b"data:"])
    alike, unlike = b"", b""
    for number, each in enumerate(chunks(rng)):
        line = json.dumps(each, **style).encode()  # type: ignore[arg-type]
        if rng.random() < 0.05:
            raw = rng.choice(RAW)
            line = line.replace(b'"content":"', b'"content":"' + raw, 1)
        alike += lead + line + end
        unlike += lead + b'{"n":%d,' % number + line[1:] + end
        if rng.random() < 0.02:
            odd = rng.choice([b"\n", b": ping\n\n", b"event: x\n", b"\r\n", b"nonsense\n"])
            alike, unlike = alike + odd, unlike + odd
    last = rng.choice([b"data: [DONE]\n\n", b"data: [DONE]", b"data:[DONE] \n\n", b""])
    return alike + last, unlike + last


def single(event: RunEvent | Texts) -> Sequence[RunEvent]:
    return event if isinstance(event, Texts) else [event]


def fed(
    data: bytes, limit: int | None, sizes: list[int], *, bulk: bool = False
) -> tuple[list[RunEvent], Any]:
    stream, at = ChatStream(limit, bulk=bulk), 0
    events: list[RunEvent] = []
    for size in sizes:
        if not stream.done:
            events += [one for event in stream.feed(data[at : at + size]) for one in single(event)]
            at += size
    calls = [getattr(event, "call_id", None) for event in events]
    told = (
        (stream.done, stream.garbage, stream.over_limit, stream.error, stream.usage, stream.model),
        (stream.finish, stream.output_tokens, len(calls)),
    )
    return [event for event in events if not hasattr(event, "call_id")], told


@pytest.mark.parametrize("seed", range(300))
def test_lines_that_are_alike_say_what_they_say_apart(seed: int) -> None:
    rng = random.Random(seed)
    alike, unlike = streams(rng)
    limit = rng.choice([None, None, 3, 30])
    size = rng.choice([1, 7, 150, 200, 1000, 10**6, 10**6])
    in_parts = [rng.randrange(1, size + 1) for _ in range(len(alike) if size < 1000 else 200)]
    sizes, apart = [*in_parts, len(alike)], fed(unlike, limit, [len(unlike)])
    assert fed(alike, limit, sizes) == apart
    assert fed(alike, limit, sizes, bulk=True) == apart


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_lines_may_be_split_at_any_byte(end: bytes) -> None:
    texts = ["Hi", " naïve", " 🌍", "\n", '"', "end"]
    rows = [{"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    lines = [b"data: " + json.dumps(row, ensure_ascii=False).encode() + end for row in rows]
    data = b"".join(lines)
    for at in range(len(data)):
        stream = ChatStream()
        events = stream.feed(data[:at]) + stream.feed(data[at:])
        assert events == [TextDelta(text) for text in texts]


def test_a_field_that_happens_to_say_the_same_is_not_taken_for_the_text() -> None:
    stream = ChatStream()
    for tail in ("a", "b", "c"):
        choice = {"index": 0, "delta": {"content": "a"}}
        row = {"model": "m", "choices": [choice], "tail": tail}
        assert stream.feed(b"data: " + json.dumps(row).encode() + b"\n\n") == [TextDelta("a")]


def test_a_text_in_another_place_than_usual_is_not_learned() -> None:
    line = b'data: {"model":"m","choices":[{"delta":null,"message":{"content":"hi"}}]}\n\n'
    stream = ChatStream()
    assert stream.feed(line * 3) == [TextDelta("hi")] * 3
    assert not stream.garbage


def test_in_bulk_texts_stay_the_json_that_they_came_in() -> None:
    stream = ChatStream(bulk=True)
    rows = [{"model": "m", "choices": [{"index": 0, "delta": {"content": t}}]} for t in "abcd"]
    events = stream.feed(b"".join(b"data: " + json.dumps(row).encode() + b"\n\n" for row in rows))
    first, rest = events
    assert first == TextDelta("a")
    assert isinstance(rest, Texts) and rest.literals == b'b","c","d'
