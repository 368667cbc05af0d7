from typing import Any

from trunkline_shared.events import RunEvent, ToolArgsDelta, ToolCallStart
from trunkline_worker.backends.chat_calls import ToolCalls


def fed(*deltas: dict[str, Any]) -> list[RunEvent]:
    calls = ToolCalls()
    return [event for delta in deltas for event in calls.feed([delta])]


def function(arguments: Any = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    body = {"name": name, "arguments": arguments}
    return {"function": {k: v for k, v in body.items() if v is not None}, **more}


def shape(events: list[RunEvent]) -> list[tuple[int, str]]:
    return [
        (event.index, event.name if isinstance(event, ToolCallStart) else event.text)
        for event in events
        if isinstance(event, ToolCallStart | ToolArgsDelta)
    ]


def ids(events: list[RunEvent]) -> list[str]:
    return [event.call_id for event in events if isinstance(event, ToolCallStart)]


def test_calls_by_the_standard_may_interleave() -> None:
    events = fed(
        function("", "f", index=0, id="a"),
        function("", "g", index=1, id="b"),
        function('{"x"', index=0),
        function("{}", index=1),
        function(":1}", index=0),
    )
    assert shape(events) == [(0, "f"), (1, "g"), (0, '{"x"'), (1, "{}"), (0, ":1}")]
    assert ids(events) == ["a", "b"]


def test_indexes_with_gaps_are_counted_from_zero() -> None:
    events = fed(function("{}", "f", index=3, id="a"), function("{}", "g", index=7, id="b"))
    assert shape(events) == [(0, "f"), (0, "{}"), (1, "g"), (1, "{}")]


def test_whole_calls_without_index_and_id_get_ids_of_ours() -> None:
    events = fed(function('{"a":1}', "f"), function('{"a":1}', "f"))
    assert shape(events) == [(0, "f"), (0, '{"a":1}'), (1, "f"), (1, '{"a":1}')]
    assert len(set(ids(events))) == 2 and all(ids(events))


def test_pieces_without_an_index_belong_to_the_last_call() -> None:
    events = fed(function('{"a"', "f", id="a"), function(":1}"), function("{}", "g", id="b"))
    assert shape(events) == [(0, "f"), (0, '{"a"'), (0, ":1}"), (1, "g"), (1, "{}")]


def test_repeated_ids_and_names_start_a_call_once() -> None:
    for more in ({"index": 0, "id": "a"}, {"index": 0}, {"id": "a"}, {}):
        events = fed(function('{"a"', "f", **more), function(":1}", "f", **more))
        assert shape(events) == [(0, "f"), (0, '{"a"'), (0, ":1}")], more


def test_index_zero_for_every_call_does_not_merge_them() -> None:
    for first, second in (({"id": "a"}, {"id": "b"}), ({}, {}), ({"id": ""}, {"id": ""})):
        events = fed(function("{}", "f", index=0, **first), function("{}", "f", index=0, **second))
        assert shape(events) == [(0, "f"), (0, "{}"), (1, "f"), (1, "{}")]


def test_a_new_id_without_a_name_is_no_new_call() -> None:
    events = fed(function("", "f", index=0, id="a"), function("{}", index=0, id="other"))
    assert shape(events) == [(0, "f"), (0, "{}")]


def test_arguments_ahead_of_the_name_are_kept() -> None:
    events = fed(function('{"a"', index=0, id="a"), function(":1}", "f", index=0))
    assert shape(events) == [(0, "f"), (0, '{"a"'), (0, ":1}")]


def test_arguments_as_an_object_become_text() -> None:
    assert shape(fed(function({"a": 1}, "f"))) == [(0, "f"), (0, '{"a":1}')]


def test_custom_calls_carry_their_input() -> None:
    events = fed(
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "shell", "input": ""}},
        {"index": 0, "custom": {"input": "ls"}},
    )
    assert events == [ToolCallStart(0, "a", "shell", "custom"), ToolArgsDelta(0, "ls")]
