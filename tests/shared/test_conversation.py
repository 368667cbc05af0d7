from typing import Any

import pytest

from trunkline_shared.conversation import (
    Turn,
    decode_turn,
    encode_turn,
    history,
    loose_end,
    new_places,
    places,
)
from trunkline_shared.events import Usage


def says(role: str, text: str) -> Any:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}


def calls(call_id: str) -> Any:
    return {"type": "tool_call", "id": call_id, "name": "f", "arguments": "{}", "kind": "function"}


def result(call_id: str) -> Any:
    return {"type": "tool_result", "id": call_id, "content": []}


def what_is_new(before: list[Any], transcript: list[Any]) -> list[Any]:
    return [transcript[at] for at in new_places(before, transcript)]


RULES, QUESTION, ANSWER = says("system", "Be brief."), says("user", "Hi"), says("assistant", "Yo")
BEFORE = [RULES, QUESTION, ANSWER]


def test_a_turn_comes_back_as_it_went() -> None:
    turn = Turn(
        "r1", 1, 2, "m", "openai/x", [QUESTION], [ANSWER], usage=Usage(3, 4, cost=0.5), latency_s=1
    )
    assert decode_turn(encode_turn(turn)) == turn


def test_a_turn_that_a_script_wrote_has_no_content() -> None:
    turn = decode_turn(b'{"v":1,"run_id":"r1","outcome":"worker_lost","message":"It died."}')
    assert (turn.outcome, turn.items, turn.counts) == ("worker_lost", [], False)


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":1,"new":0}', b'{"v":1}'])
def test_what_is_no_turn_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"turn|data|empty"):
        decode_turn(stored)


def test_history_is_what_finished_turns_said() -> None:
    turns = [
        Turn("r1", items=[RULES, QUESTION], said=[ANSWER]),
        Turn("r2", items=[says("user", "lost")], said=[], outcome="worker_lost"),
    ]
    assert history(turns) == BEFORE


def test_the_first_turn_is_the_whole_transcript() -> None:
    assert what_is_new([], [*BEFORE, says("user", "More")]) == [*BEFORE, says("user", "More")]


def test_only_what_follows_the_last_answer_is_new_whether_the_rest_is_sent_again_or_not() -> None:
    more = [says("user", "More"), says("user", "And more")]
    assert what_is_new(BEFORE, more) == more
    assert what_is_new(BEFORE, [*BEFORE, *more]) == more


def test_the_result_of_a_call_is_new() -> None:
    asked = [QUESTION, calls("c1")]
    assert what_is_new(asked, [*asked, result("c1")]) == [result("c1")]


def test_system_text_counts_wherever_it_stands_but_only_once() -> None:
    new_rules = says("developer", "Be long.")
    transcript = [RULES, new_rules, QUESTION, ANSWER, says("user", "More")]
    assert what_is_new(BEFORE, transcript) == [new_rules, says("user", "More")]


def test_what_the_agent_did_itself_is_not_new_when_it_comes_back() -> None:
    call = {**calls("a"), "toolset": "files"}
    back = {**result("a"), "toolset": "files"}
    assert what_is_new([says("user", "a")], [call, back, says("user", "b")]) == [says("user", "b")]


def own(item: Any) -> Any:
    return {**item, "toolset": "tasks"}


@pytest.mark.parametrize(
    ("before", "new", "problem"),
    [
        ([], [QUESTION], None),
        ([QUESTION, calls("a"), calls("b")], [result("b"), result("a"), QUESTION], None),
        ([QUESTION, own(calls("o")), own(result("o")), calls("a")], [RULES, result("a")], None),
        ([], [QUESTION, calls("a"), result("a")], None),
        ([QUESTION, calls("a"), calls("b")], [result("a")], "waits for the result of b of f"),
        ([QUESTION, calls("a")], [QUESTION, result("a")], "waits for the result of a of f"),
        ([QUESTION, calls("a")], [result("a"), result("a")], "has no call that a could be"),
        ([QUESTION, ANSWER], [result("x")], "has no call that x could be"),
        ([QUESTION, calls("a"), QUESTION, ANSWER, result("x")], [QUESTION], None),
        ([QUESTION, calls("a"), QUESTION, ANSWER], [result("a")], "has no call that a could be"),
    ],
)
def test_calls_and_results_go_together(
    before: list[Any], new: list[Any], problem: str | None
) -> None:
    found = loose_end(before, new)
    assert found is None if problem is None else found is not None and problem in found


def test_what_a_run_had_not_seen_comes_after_its_turn() -> None:
    turns = [
        Turn("r0", items=[RULES]),
        Turn("a0", items=[says("user", "added meanwhile")]),
        Turn("a1", items=[says("user", "and this")]),
        Turn("r1", items=[QUESTION], said=[ANSWER], seen=1),
        Turn("r2", items=[says("user", "more")], seen=4),
    ]
    items: Any = history(turns)
    told = [item["content"][0]["text"] for item in items]
    assert told == ["Be brief.", "Hi", "Yo", "added meanwhile", "and this", "more"]


@pytest.mark.parametrize(
    ("items", "left"),
    [
        ([QUESTION, calls("a"), QUESTION], [QUESTION, QUESTION]),
        ([QUESTION, result("a"), QUESTION], [QUESTION, QUESTION]),
        ([QUESTION, calls("a"), QUESTION, result("a")], [QUESTION, QUESTION]),
        ([QUESTION, calls("a"), result("a"), result("a")], [QUESTION, calls("a"), result("a")]),
        ([QUESTION, calls("a")], [QUESTION, calls("a")]),
        ([QUESTION, own(calls("a")), QUESTION], [QUESTION, own(calls("a")), QUESTION]),
    ],
)
def test_calls_without_results_and_results_without_calls_are_no_history(
    items: list[Any], left: list[Any]
) -> None:
    assert history([Turn("r1", items=items)]) == left


def test_places_are_written_where_they_tell_something_and_unknown_members_are_passed_over() -> None:
    plain = Turn("r1", items=[QUESTION], said=[ANSWER])
    assert b"said_at" not in encode_turn(plain) and b"seen" not in encode_turn(plain)
    assert (places([0, 1, 2]), places([0, 2])) == ([], [0, 2])
    placed = Turn("r1", items=[QUESTION], said=[ANSWER], items_at=[3], said_at=[1], seen=0)
    assert decode_turn(encode_turn(placed)) == placed
    assert decode_turn(b'{"v":1,"run_id":"r1","of_a_newer_version":1}') == Turn("r1")
