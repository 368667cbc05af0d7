import orjson
import pytest

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
from trunkline_shared.fold import Fold, Folded, decode, encode, said

USAGE = Usage(10, 20, 3, 0, 5, 0.01)
ROW = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}


def folded(*events: RunEvent) -> Folded:
    fold = Fold(lambda: 1.5)
    fold.add(1, events)
    return fold.result()


def test_nothing_said_is_an_empty_result_that_has_not_ended() -> None:
    assert Fold().result() == Folded()
    assert Folded().usage is None


def test_deltas_are_joined_by_kind_in_their_order() -> None:
    result = folded(
        Created(1),
        Attempt(1),
        ReasoningDelta("hm"),
        TextDelta("Hel"),
        ReasoningDelta("m"),
        TextDelta("lo"),
        RefusalDelta("n"),
        RefusalDelta("o"),
        Finished("stop", USAGE),
    )
    assert (result.text, result.reasoning, result.refusal) == ("Hello", "hmm", "no")
    assert result.terminal == Finished("stop", USAGE)
    assert result.usage == USAGE
    assert result.logprobs is None


def test_tool_calls_keep_their_order_and_gather_their_arguments() -> None:
    result = folded(
        ToolCallStart(1, "b", "shell", "custom"),
        ToolCallStart(0, "a", "weather"),
        ToolArgsDelta(1, "l"),
        ToolArgsDelta(0, "{"),
        ToolArgsDelta(0, "}"),
        ToolArgsDelta(1, "s"),
        Finished("tool_calls"),
    )
    assert [(c["id"], c["name"], c["arguments"], c["kind"]) for c in result.tool_calls] == [
        ("a", "weather", "{}", "function"),
        ("b", "shell", "ls", "custom"),
    ]


def test_arguments_of_a_call_that_never_began_are_an_error() -> None:
    with pytest.raises(ValueError, match="call 3"):
        folded(ToolArgsDelta(3, "x"))


def test_logprobs_are_gathered_and_an_empty_list_is_not_none() -> None:
    assert folded(TextDelta("a", [ROW]), TextDelta("b", [ROW])).logprobs == (ROW, ROW)
    assert folded(TextDelta("a", [])).logprobs == ()


def test_an_attempt_drops_what_it_says_and_nothing_else() -> None:
    fold = Fold()
    fold.add(1, [Created(1), Attempt(1), TextDelta("kept "), TextDelta("lost")])
    fold.add(5, [ToolCallStart(0, "a", "lost")])
    fold.add(6, [Attempt(2, drop_from=4), TextDelta("anew"), Finished("stop")])
    result = fold.result()
    assert result.text == "kept anew"
    assert result.tool_calls == ()


def test_every_place_of_a_drop_leaves_exactly_the_events_before_it() -> None:
    letters = "abcdef"
    for drop_from in range(1, 8):
        for cut in range(7):
            fold = Fold()
            fold.add(1, [TextDelta(letter) for letter in letters[:cut]])
            fold.add(1 + cut, [TextDelta(letter) for letter in letters[cut:]])
            fold.add(7, [Attempt(2, drop_from), TextDelta("!")])
            assert fold.result().text == letters[: drop_from - 1] + "!"


def test_two_drops_in_one_batch_both_count() -> None:
    result = folded(TextDelta("a"), Attempt(2, 1), TextDelta("b"), Attempt(3, 2), TextDelta("c"))
    assert result.text == "c"


def test_an_attempt_without_a_drop_keeps_what_was_said() -> None:
    assert folded(TextDelta("a"), Attempt(2), TextDelta("b")).text == "ab"


FULL = folded(
    TextDelta("a", [ROW]),
    ReasoningDelta("r"),
    RefusalDelta("n"),
    ToolCallStart(0, "id", "f"),
    ToolArgsDelta(0, "{}"),
    Finished("tool_calls", USAGE, "m", "d", "default", "fp"),
)


@pytest.mark.parametrize(
    "result",
    [Folded(), FULL, folded(Failed("worker_lost", "gone", None, 1.5, USAGE))],
    ids=["empty", "full", "failed"],
)
def test_a_stored_result_comes_back_as_it_went(result: Folded) -> None:
    assert decode(encode(result)) == result


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b"{}",
        b'{"v":2}',
        b"null",
        b'{"v":1}',
        orjson.dumps({"v": 1, "items": [[1]], "end": None}),
        orjson.dumps(orjson.loads(encode(Folded())) | {"end": ["t", "a"]}),
        orjson.dumps(orjson.loads(encode(Folded())) | {"end": ["hologram"]}),
    ],
)
def test_what_is_no_stored_result_of_this_version_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="stored result"):
        decode(stored)


def test_a_result_of_a_version_without_phases_is_read() -> None:
    stored = orjson.loads(encode(folded(TextDelta("a"), Finished("stop"))))
    del stored["phases"]
    [item] = decode(orjson.dumps(stored)).items
    assert (item.text, item.phase) == ("a", None)


def test_a_result_that_a_script_wrote_says_only_how_it_ended() -> None:
    result = decode(b'{"v":1,"end":["failed","worker_lost","It died."]}')
    assert result == Folded(terminal=Failed("worker_lost", "It died."))


def test_a_result_knows_when_it_ended() -> None:
    assert folded(TextDelta("a"), Finished("stop")).ended_ms == 1500
    assert folded(TextDelta("a")).ended_ms == 0


def test_what_was_said_continues_a_history() -> None:
    head = {"type": "message", "role": "assistant", "phase": "commentary"}
    assert said(FULL) == [
        {**head, "content": [{"type": "text", "text": "a"}]},
        {"type": "reasoning", "text": "r"},
        {**head, "content": [{"type": "refusal", "text": "n"}]},
        {"type": "tool_call", "id": "id", "name": "f", "arguments": "{}", "kind": "function"},
    ]
    assert said(Folded()) == []


def text_of(result: Folded) -> list[str]:
    messages = [item for item in said(result) if item["type"] == "message"]
    return [part["text"] for item in messages for part in item["content"] if "text" in part]


def test_what_a_lost_worker_left_is_no_history_but_what_a_limit_cut_is() -> None:
    lost = folded(TextDelta("Hel"), Attempt(2), TextDelta("Hello"), Finished("stop"))
    assert text_of(lost) == ["Hello"]
    cut = folded(TextDelta("Hel"), Finished("length"))
    assert text_of(cut) == ["Hel"]
    assert [item.get("status") for each in (lost, cut) for item in said(each)] == [
        None,
        "incomplete",
    ]


def test_half_a_call_and_half_a_thought_are_no_history() -> None:
    call = (ToolCallStart(0, "id", "f"), ToolArgsDelta(0, '{"a'))
    assert said(folded(*call, Finished("length"))) == []
    assert said(folded(ReasoningDelta("hm"), Finished("length"))) == []


def test_a_call_without_arguments_and_no_empty_text_is_history() -> None:
    result = folded(TextDelta(""), ToolCallStart(0, "id", "f"), Finished("tool_calls"))
    assert [item["type"] for item in said(result)] == ["tool_call"]
