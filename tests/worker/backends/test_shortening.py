"""What is left out of a transcript that is too long, and how often a model is asked again."""

from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.agent_lane.agents import agent, bench
from tests.worker.backends.driving import (
    chat,
    events_of,
    failed,
    request,
    said,
    spec,
    text_in,
)
from trunkline_worker.backends.shortening import shortened


def items(letters: str) -> list[Any]:
    """`s` a system message, `u` and `a` what the user and the assistant say, `r` reasoning, a
    digit a call, and the same once more its result."""
    found: list[Any] = []
    for at, letter in enumerate(letters):
        if letter in "sua":
            role = {"s": "system", "u": "user", "a": "assistant"}[letter]
            found.append(said(f"{letter}{at}", role))
        elif letter == "r":
            found.append({"type": "reasoning", "text": "hm"})
        elif letter in letters[:at]:
            found.append({"type": "tool_result", "id": letter, "content": []})
        else:
            call = {"name": "f", "arguments": "{}", "kind": "function"}
            found.append({"type": "tool_call", "id": letter, **call})
    return found


@pytest.mark.parametrize(
    ("letters", "kept"),
    [
        ("uau", [2]),
        ("suau", [0, 3]),
        ("suauauau", [0, 5, 6, 7]),
        ("uausau", [2, 3, 4, 5]),
        ("ua11au", [5]),
        ("u11uar2u", None),
        ("suara1u1", None),
        ("u1122", [0, 3, 4]),
        ("u123123", None),
        ("u11", None),
        ("su", None),
        ("u", None),
        ("1122", [2, 3]),
        ("", None),
    ],
)
def test_the_older_half_goes_and_no_call_loses_its_result(
    letters: str, kept: list[int] | None
) -> None:
    given = items(letters)
    left = shortened(given)
    if kept is not None:
        assert left == [given[at] for at in kept]
    elif left is not None:
        calls = {item["id"] for item in left if item["type"] == "tool_call"}
        results = {item["id"] for item in left if item["type"] == "tool_result"}
        assert results <= calls and left[-1] is given[-1] and len(left) < len(given)


@pytest.mark.parametrize("has_tools", [False, True])
async def test_a_model_is_asked_again_with_less_until_it_fits(
    upstream: FakeUpstream, has_tools: bool
) -> None:
    transcript = items("s" + "ua" * 8 + "u")
    run = request(transcript=transcript, truncate=True)
    model = spec(upstream, "context-4")
    lane = agent(model, toolsets=[bench()]) if has_tools else chat(model)
    async with lane as backend:
        events = await events_of(backend, run)
    assert text_in(events) == words(4)
    sent = [seen.body["messages"] for seen in upstream.requests]
    assert [len(messages) for messages in sent] == [18, 10, 6, 4]
    assert [message["content"] for message in sent[-1]] == ["s0", "u15", "a16", "u17"]


@pytest.mark.parametrize("has_tools", [False, True])
@pytest.mark.parametrize(
    ("model", "truncate", "calls"), [("context-4", False, 1), ("context-length", True, 3)]
)
async def test_what_does_not_fit_fails(
    upstream: FakeUpstream, has_tools: bool, model: str, truncate: bool, calls: int
) -> None:
    run = request(transcript=items("uauauau"), truncate=truncate)
    asked = spec(upstream, model)
    lane = agent(asked, toolsets=[bench()]) if has_tools else chat(asked)
    async with lane as backend:
        events = await events_of(backend, run)
    assert failed(events).code == "context_length_exceeded"
    assert len(upstream.requests) == calls
