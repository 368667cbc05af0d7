"""Answers in a format: how the model is brought to give them, and what is shown of them."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import agent, attempts, bench, of, planner
from tests.worker.backends.driving import batches_of, events_of, failed, finished, request, text_in
from tests.worker.backends.driving import spec as chat_spec
from trunkline_shared.events import RefusalDelta, TextDelta, ToolCallStart
from trunkline_shared.transcript import Format
from trunkline_worker.models import ModelSpec

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
NUMBER: Format = {"type": "json_schema", "name": "number", "schema": SCHEMA, "strict": True}
OBJECT: Format = {"type": "json_object"}
LOOK = {"say": "I look. ", "calls": [("look", {"at": "x"})]}


def claude(anthropic: FakeAnthropic, name: str) -> ModelSpec:
    return ModelSpec(
        provider="anthropic", name=name, base_url=anthropic.base_url, wire="anthropic", api_key="k"
    )


async def test_a_model_that_can_is_asked_natively_and_streams(upstream: FakeUpstream) -> None:
    async with agent(chat_spec(upstream, "plan")) as backend:
        run = request(plan({"say": '{"n": 17}'}), format=NUMBER, stream=True)
        events = await events_of(backend, run)
    assert [e.text for e in of(TextDelta, events)] == ['{"n"', ": 17", "}"]
    sent = upstream.requests[0].body["response_format"]["json_schema"]
    assert sent == {"name": "number", "schema": SCHEMA, "strict": True}


@pytest.mark.parametrize("stream", [True, False])
async def test_words_before_a_call_of_the_agents_own_are_no_part_of_the_answer(
    upstream: FakeUpstream, tmp_path: Path, stream: bool
) -> None:
    async with planner(upstream, tmp_path, bench()) as backend:
        prompt = plan(LOOK, {"say": '{"n": 1}'})
        events = await events_of(backend, request(prompt, format=NUMBER, stream=stream))
    assert text_in(events) == '{"n": 1}'
    assert finished(events).reason == "stop"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("Nope", "it is not JSON"),
        ('{"n": "x"}', "$.n: 'x' is not of type 'integer'"),
        ('{"n": 1, "m": 2}', "'m' was unexpected"),
    ],
)
async def test_an_answer_that_does_not_fit_is_corrected_once(
    upstream: FakeUpstream, tmp_path: Path, said: str, problem: str
) -> None:
    async with planner(upstream, tmp_path) as backend:
        run = request(plan({"say": said}, {"say": '{"n": 2}'}), format=NUMBER)
        assert text_in(await events_of(backend, run)) == '{"n": 2}'
        told = upstream.requests[1].body["messages"][-1]
        assert told["role"] == "user" and problem in str(told["content"])
        run = request(plan({"say": said}, {"say": said}), format=NUMBER)
        events = await events_of(backend, run)
    assert failed(events).code == "invalid_output"
    assert problem in failed(events).message
    assert failed(events).usage
    assert not of(TextDelta, events)


async def test_what_was_streamed_cannot_be_corrected(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with planner(upstream, tmp_path) as backend:
        run = request(plan({"say": "Nope"}, {"say": '{"n": 2}'}), format=NUMBER, stream=True)
        events = await events_of(backend, run)
    assert (text_in(events), failed(events).code) == ("Nope", "invalid_output")
    assert len(upstream.requests) == 1


async def test_a_correction_is_not_asked_for_again_by_a_later_attempt(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    run = attempts(plan({"say": "Nope"}, {"say": '{"n": 2}'}), format=NUMBER)
    async with planner(upstream, tmp_path) as backend:
        for _ in range(2):
            assert text_in(await run.attempt(backend)) == '{"n": 2}'
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"say": '{"n', "finish": "length"}, "length"),
        ({"say": '{"n', "finish": "content_filter"}, "content_filter"),
        ({"refuse": "I will not."}, "stop"),
        ({"say": "k", "calls": [("pay", {})]}, "tool_calls"),
    ],
)
async def test_what_is_no_whole_answer_is_passed_on(
    upstream: FakeUpstream, tmp_path: Path, step: Any, reason: str
) -> None:
    tools: Any = [{"type": "function", "name": "pay"}]
    async with planner(upstream, tmp_path) as backend:
        events = await events_of(backend, request(plan(step), format=NUMBER, tools=tools))
    assert finished(events).reason == reason
    if "refuse" in step:
        assert of(RefusalDelta, events) == [RefusalDelta("I will not.")]
    elif reason != "tool_calls":
        assert text_in(events) == '{"n'


@pytest.mark.parametrize("mode", ["auto", "prompted"])
async def test_an_object_of_any_kind(upstream: FakeUpstream, tmp_path: Path, mode: str) -> None:
    async with planner(upstream, tmp_path, structured_output=mode) as backend:
        run = request(plan({"say": '{"any": []}'}), format=OBJECT)
        assert text_in(await events_of(backend, run)) == '{"any": []}'
        run = request(plan({"say": "[1]"}, {"say": "[2]"}), format=OBJECT)
        assert failed(await events_of(backend, run)).code == "invalid_output"
    native = upstream.requests[0].body.get("response_format")
    assert native == (OBJECT if mode == "auto" else None)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_model_that_is_only_told_may_put_words_around(
    upstream: FakeUpstream, tmp_path: Path, stream: bool
) -> None:
    async with planner(upstream, tmp_path, structured_output="prompted") as backend:
        said = 'Here you are:\n```json\n{"n": 3}\n```\nAnything else?'
        run = request(plan({"say": said}), format=NUMBER, stream=stream)
        events = await events_of(backend, run)
    assert of(TextDelta, events) == [TextDelta('{"n": 3}')]
    body = upstream.requests[0].body
    assert "response_format" not in body
    assert '"n"' in str(body["messages"][0]) and body["messages"][0]["role"] == "system"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_to_answer_with_is_shown_as_text(
    upstream: FakeUpstream, tmp_path: Path, stream: bool
) -> None:
    async with planner(upstream, tmp_path, bench(), structured_output="tool") as backend:
        prompt = plan(LOOK, {"say": "So: ", "calls": [("answer", {"n": 4})]})
        events = await events_of(backend, request(prompt, format=NUMBER, stream=stream))
    assert text_in(events) == '{"n": 4}'
    assert len(of(TextDelta, events)) == (2 if stream else 1)
    assert (finished(events).reason, of(ToolCallStart, events)) == ("stop", [])
    body = upstream.requests[0].body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look", "answer"]
    assert body["tools"][1]["function"]["parameters"] == SCHEMA
    assert (body["tool_choice"], "response_format" in body) == ("required", False)


async def test_a_wrong_call_of_that_tool_is_corrected(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with planner(upstream, tmp_path, structured_output="tool") as backend:
        prompt = plan({"calls": [("answer", {"n": "x"})]}, {"calls": [("answer", {"n": 5})]})
        events = await events_of(backend, request(prompt, format=NUMBER))
    assert text_in(events) == '{"n": 5}'
    assert upstream.requests[1].body["messages"][-1]["role"] == "tool"


async def test_the_tool_to_answer_with_has_a_name_of_its_own(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    tools: Any = [{"type": "function", "name": "answer"}]
    async with planner(upstream, tmp_path, structured_output="tool") as backend:
        prompt = plan({"calls": [("answer_", {"n": 6})]})
        assert text_in(await events_of(backend, request(prompt, format=NUMBER, tools=tools)))


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "wat"}, "$.type: 'wat' is not valid"),
        ({"$ref": "http://127.0.0.1:9/s"}, "it refers to http://127.0.0.1:9/s, which is not in it"),
        ({"$ref": "#"}, "it refers to itself without an end"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_the_callers_fault(
    upstream: FakeUpstream, tmp_path: Path, schema: Any, problem: str
) -> None:
    wanted: Format = {"type": "json_schema", "schema": schema}
    async with planner(upstream, tmp_path) as backend:
        end = failed(await events_of(backend, request(plan({"say": "{}"}), format=wanted)))
    assert (end.code, end.param) == ("invalid_request", "response_format")
    assert problem in end.message


async def test_what_the_operator_wants_and_no_model_can_is_said(
    anthropic: FakeAnthropic,
) -> None:
    async with agent(claude(anthropic, "json"), structured_output="native") as backend:
        end = failed(await events_of(backend, request("x", format=OBJECT)))
    assert (end.code, end.param) == ("invalid_request", "response_format")
    assert not anthropic.requests


@pytest.mark.parametrize("stream", [True, False])
async def test_other_providers_answer_in_a_format_too(
    anthropic: FakeAnthropic, stream: bool
) -> None:
    async with agent(claude(anthropic, "json")) as backend:
        events = await events_of(backend, request("x", format=NUMBER, stream=stream))
    assert text_in(events).replace(" ", "") == '{"n":1}'
    assert finished(events).reason == "stop"


async def test_runs_without_a_format_are_shown_at_once(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with planner(upstream, tmp_path, structured_output="prompted") as backend:
        *before, _ = await batches_of(backend, request(plan({"say": "Nope"})))
    assert before
