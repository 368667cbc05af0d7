from dataclasses import fields
from typing import get_args

import pytest

from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Compacted,
    Created,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
    decode,
    encode,
)

USAGE = Usage(1, 2, 3, 4, 5, 0.25)
ROWS = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
EVERY_KIND: list[RunEvent] = [
    Created(1_700_000_000_000),
    Attempt(1),
    Attempt(2, drop_from=7),
    TextDelta("héllo\n\u2028"),
    TextDelta("a", ROWS),
    ReasoningDelta("because"),
    ReasoningDelta("in short", 1),
    RefusalDelta("no"),
    ToolCallStart(0, "call_1", "weather"),
    ToolCallStart(1, "call_2", "shell", "custom"),
    ToolArgsDelta(0, '{"city":'),
    Step(),
    ActivityStart(0, "call_3", "read_file", "file_access"),
    ActivityArgs(0, '{"path":'),
    ActivityOutput(0, "its text"),
    ActivityEnd(0),
    ActivityEnd(1, "no such file"),
    Compacted("sealed"),
    Compacted("sea", more=True),
    Finished("stop"),
    Finished("length", USAGE, "gpt", "limits.max_tokens", "default", "fp_1", 1_700_000_000_000),
    Failed("upstream_error", "it broke"),
    Failed("queue_full", "later", "model", 2.5, USAGE),
]


@pytest.mark.parametrize("event", EVERY_KIND, ids=repr)
def test_an_event_comes_back_as_it_went(event: RunEvent) -> None:
    assert decode(encode(event)) == event


@pytest.mark.parametrize("event", EVERY_KIND, ids=repr)
def test_what_a_newer_version_says_more_is_passed_over(event: RunEvent) -> None:
    row = encode(event)
    row += [getattr(event, left_out.name) for left_out in fields(event)[len(row) - 1 :]]
    newer = [[*value, "new"] if type(value) is list and value[0] == 1 else value for value in row]
    assert decode([*newer, "new", None]) == event


def test_every_kind_of_event_is_among_those_tested() -> None:
    assert {type(event) for event in EVERY_KIND} == set(get_args(RunEvent))


def test_no_two_kinds_share_a_name() -> None:
    names = {type(event): encode(event)[0] for event in EVERY_KIND}
    assert len(set(names.values())) == len(names)


def test_an_event_carries_all_members_but_trailing_defaults() -> None:
    for event in EVERY_KIND:
        left_out = len(fields(event)) - len(encode(event)[1:])
        is_plain = event in (TextDelta("héllo\n\u2028"), ReasoningDelta("because"))
        has_no_time = isinstance(event, Finished) and not event.at_ms
        assert left_out == int(is_plain or has_no_time)


def test_a_kind_of_a_newer_version_is_an_error() -> None:
    with pytest.raises(KeyError):
        decode(["hologram", 1])


@pytest.mark.parametrize(
    ("one", "other", "cost"),
    [(None, 1.0, None), (1.0, 2.0, 3.0), (None, None, None)],
)
def test_a_cost_is_known_if_all_of_it_is(
    one: float | None, other: float | None, cost: float | None
) -> None:
    assert Usage(1, cost=one).plus(Usage(1, cost=other)).cost == cost
    assert Usage().plus(Usage(1, cost=other)).cost == other
