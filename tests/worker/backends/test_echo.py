import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.worker.backends.driving import (
    batches_of,
    events_of,
    failed,
    finished,
    no_gate,
    request,
    said,
    text_in,
)
from trunkline_shared.config.models import AgentConfig, EchoSettings, Limits
from trunkline_shared.events import RunEvent, TextDelta, Usage
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.echo import EchoBackend


def echo(
    *, rate: float = 0, words: int | None = None, text: str | None = None, **fields: Any
) -> EchoBackend:
    settings = EchoSettings(words_per_second=rate, words=words, text=text)
    return EchoBackend(AgentConfig(name="test", type="echo", echo=settings, **fields))


@pytest.mark.parametrize(
    "text", ["one two  three\nfour", " leading and trailing ", "word", "", "   ", "naïve 🌍 æ"]
)
async def test_the_pieces_joined_are_the_last_user_message(text: str) -> None:
    run = request(
        transcript=[said("first"), said("mine", "assistant"), said(text), said("x", "system")]
    )
    events = await events_of(echo(), run)
    assert text_in(events) == text
    assert finished(events).reason == "stop"


async def test_a_text_of_its_own_is_said_whatever_the_prompt_is() -> None:
    assert text_in(await events_of(echo(text="Fixed words."), request("hello"))) == "Fixed words."
    assert text_in(await events_of(echo(text=""), request("hello"))) == ""


async def test_each_delta_is_one_word_and_each_word_a_token_that_costs_nothing() -> None:
    events = await events_of(echo(), request("one two three"))
    assert events[:-1] == [TextDelta("one "), TextDelta("two "), TextDelta("three")]
    assert finished(events).usage == Usage(3, 3, cost=0.0)


async def test_a_number_of_words_repeats_the_prompt() -> None:
    events = await events_of(echo(words=5), request("a b"))
    assert text_in(events) == "a b a b a"
    assert text_in(await events_of(echo(words=2), request(""))) == "echo echo"


async def test_a_long_answer_leaves_other_tasks_room() -> None:
    batches = await batches_of(echo(words=5000), request("a"))
    assert sum(map(len, batches)) == 5001
    assert max(map(len, batches)) <= 256


@pytest.mark.parametrize(
    ("fields", "asked", "detail"),
    [
        ({}, 2, None),
        ({"limits": Limits(max_tokens=2)}, 10, "limits.max_tokens reached"),
        ({"settings": {"max_tokens": 2}}, None, "settings.max_tokens reached"),
    ],
)
async def test_the_least_limit_ends_the_answer_as_length(
    fields: dict[str, Any], asked: int | None, detail: str | None
) -> None:
    options = {"max_output_tokens": asked} if asked else {}
    events = await events_of(echo(**fields), request("one two three", options=options))
    assert text_in(events) == "one two "
    assert (finished(events).reason, finished(events).detail) == ("length", detail)


async def test_a_limit_that_is_just_met_is_no_cut() -> None:
    events = await events_of(echo(), request("one two", options={"max_output_tokens": 2}))
    assert finished(events).reason == "stop"


async def test_the_first_stop_sequence_ends_the_answer_before_it() -> None:
    events = await events_of(echo(), request("one two three", options={"stop": ["ee", "o t", ""]}))
    assert text_in(events) == "one tw"
    assert finished(events).reason == "stop"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"mode": "required"}}, "tool_choice"),
        ({"tool_choice": {"mode": "named", "tools": []}}, "tool_choice"),
        ({"tool_choice": {"mode": "allowed_required", "tools": []}}, "tool_choice"),
        ({"format": {"type": "json_object"}}, "response_format"),
        ({"format": {"type": "json_schema", "schema": {}}}, "response_format"),
        ({"options": {"logprobs": True}}, "logprobs"),
    ],
)
async def test_what_an_echo_cannot_do_is_refused_by_name(
    fields: dict[str, Any], param: str
) -> None:
    failure = failed(await events_of(echo(), request(**fields)))
    assert (failure.code, failure.param) == ("invalid_request", param)


@pytest.mark.parametrize("mode", ["none", "auto", "allowed"])
async def test_tools_that_need_not_be_called_are_fine(mode: str) -> None:
    run = request("hi", tools=[{"type": "function", "name": "f"}], tool_choice={"mode": mode})
    assert text_in(await events_of(echo(), run)) == "hi"


async def test_words_come_at_their_rate_and_do_not_drift() -> None:
    clock = asyncio.get_running_loop().time
    start = clock()
    await events_of(echo(rate=100, words=31), request("a"))
    # the last of 31 words is due at 0.3 s; a drifting clock would add each word's delay
    assert 0.29 <= clock() - start < 3


async def test_late_words_are_made_up_for_in_one_batch() -> None:
    sizes: list[int] = []

    def emit(batch: Sequence[RunEvent]) -> None:
        sizes.append(len(batch))
        if len(sizes) == 1:
            time.sleep(0.02)  # as a busy loop makes the next words late

    await echo(rate=1000, words=100).run(request("a"), RunContext(no_gate, emit))
    assert sizes[0] == 1 and sizes[1] > 1
