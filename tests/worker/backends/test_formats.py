"""Answers in a format that upstreams promise to keep, and do not always."""

import asyncio
import time
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.backends import driving
from tests.worker.backends.driving import events_of, failed, finished, request, text_in
from trunkline_shared.events import ToolCallStart
from trunkline_shared.transcript import Format
from trunkline_worker.backends.formats import FormatCheck

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


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"properties": {"a": {"$ref": "#/$defs/b"}}}, "refers to #/$defs/b, which is not in it"),
        ({"anyOf": [{"$ref": "http://127.0.0.1:9/s"}]}, "refers to http://127.0.0.1:9/s"),
        ({"$ref": "#/allOf/x", "allOf": [{}]}, "refers to #/allOf/x"),
        ({"properties": {f"p{n}": {} for n in range(10_000)}}, "more than 100000 bytes"),
    ],
)
async def test_one_that_cannot_be_followed_is_refused_before_a_model_is_asked(
    upstream: FakeUpstream, schema: Any, problem: str
) -> None:
    end = failed(await answer(upstream, "json", {"type": "json_schema", "schema": schema}))
    assert (end.code, end.param) == ("invalid_request", "response_format")
    assert problem in end.message
    assert not upstream.requests


async def test_the_loop_goes_on_while_a_large_schema_is_looked_at(upstream: FakeUpstream) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(1000)}}
    answering = asyncio.create_task(answer(upstream, "json", {**NUMBER, "schema": schema}))
    longest, last = 0.0, time.monotonic()
    while not answering.done():
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert finished(await answering).reason == "stop"
    assert longest < 0.3


async def test_what_is_wrong_with_a_long_value_is_said() -> None:
    check = await FormatCheck.of({"type": "json_schema", "schema": {"maxItems": 9}})
    problem = await check.problem(str([*range(1000)]))
    assert problem is not None and problem.endswith(" is too long") and len(problem) < 400


async def test_references_are_followed_as_each_dialect_has_them() -> None:
    for schema in (
        {"$defs": {"a": {"$anchor": "k"}}, "properties": {"x": {"$ref": "#k"}}},
        {"$id": "http://host/s", "properties": {"x": {"$ref": "s"}}},
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": {}},
            "properties": {"x": {"$ref": "#/definitions/a"}, "$ref": {"type": "string"}},
        },
        {"$schema": "http://unknown/", "properties": {"a": {"const": {"$ref": "#/b"}}}},
    ):
        await FormatCheck.of({"type": "json_schema", "schema": schema})


async def test_text_is_never_looked_at(upstream: FakeUpstream) -> None:
    assert finished(await answer(upstream, "words-3", {"type": "text"})).reason == "stop"
