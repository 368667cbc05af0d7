"""Answers in a format that upstreams promise to keep, and do not always."""

import asyncio
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.backends import driving
from tests.worker.backends.driving import events_of, failed, finished, request, text_in
from trunkline_shared.events import ToolCallStart
from trunkline_shared.transcript import Format

NUMBER: Format = {
    "type": "json_schema",
    "name": "number",
    "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
}


async def answer(upstream: FakeUpstream, model: str, wanted: Format) -> Any:
    async with driving.chat(driving.spec(upstream, model)) as backend:
        return await events_of(backend, request(format=wanted))


@pytest.mark.parametrize("wanted", [NUMBER, {"type": "json_object"}])
async def test_an_answer_that_fits_is_an_answer(upstream: FakeUpstream, wanted: Format) -> None:
    assert finished(await answer(upstream, "json", wanted)).reason == "stop"


@pytest.mark.parametrize("wanted", [NUMBER, {"type": "json_object"}])
async def test_one_that_does_not_is_a_failure(upstream: FakeUpstream, wanted: Format) -> None:
    events = await answer(upstream, "words-3", wanted)
    end = failed(events)
    assert (end.code, text_in(events)) == ("invalid_output", "w0 w1 w2 ")
    assert "it is not JSON" in end.message
    assert end.usage is not None and end.usage.output_tokens == 3


@pytest.mark.parametrize(("model", "reason"), [("length", "length"), ("refusal", "stop")])
async def test_refusals_and_cut_answers_are_what_they_are(
    upstream: FakeUpstream, model: str, reason: str
) -> None:
    assert finished(await answer(upstream, model, NUMBER)).reason == reason


async def test_calls_need_no_text_whatever_the_reason(upstream: FakeUpstream) -> None:
    async with driving.chat(driving.spec(upstream, "plan")) as backend:
        prompt = plan({"calls": [("pay", {})], "finish": "stop"})
        tools: Any = [{"type": "function", "name": "pay"}]
        events = await events_of(backend, request(prompt, format=NUMBER, tools=tools))
    assert finished(events).reason == "stop"
    assert [event.name for event in events if isinstance(event, ToolCallStart)] == ["pay"]


async def test_a_schema_that_is_none_is_refused(upstream: FakeUpstream) -> None:
    end = failed(await answer(upstream, "json", {"type": "json_schema", "schema": {"type": 1}}))
    assert (end.code, end.param) == ("invalid_request", "response_format")
    assert not upstream.requests


async def test_a_schema_that_takes_for_ever_ends_the_run_and_stops_no_other(
    upstream: FakeUpstream,
) -> None:
    doubled = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    schema = {"$defs": {**doubled, "a40": {}}, "$ref": "#/$defs/a0"}
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick(), name="tick")
    end = failed(await answer(upstream, "json", {"type": "json_schema", "schema": schema}))
    ticking.cancel()
    assert (end.code, end.param) == ("invalid_request", "response_format")
    assert "too many steps" in end.message
    assert ticks > 10


async def test_text_is_never_looked_at(upstream: FakeUpstream) -> None:
    assert finished(await answer(upstream, "words-3", {"type": "text"})).reason == "stop"
