"""Counting in the agent lane: providers that count are asked, for others it is estimated."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic_ai.models import ModelRequestParameters

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.responses import FakeResponses
from tests.fakes.upstream import FakeUpstream
from tests.worker.agent_lane import test_anthropic_wire, test_responses_wire
from tests.worker.agent_lane.agents import agent, bench
from tests.worker.agent_lane.asking import chain_of
from tests.worker.backends.driving import events_of, failed, finished, no_gate, request, spec
from trunkline_shared.run import ESTIMATED
from trunkline_worker.agent_lane.foreign_wire import ForeignWire
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.agent_lane.step import Step
from trunkline_worker.backends.base import RunContext
from trunkline_worker.models import ModelSpec

LOOK: Any = {"type": "function", "name": "mine", "spec": {"type": "object", "properties": {}}}


async def counted(model: ModelSpec, **fields: Any) -> Any:
    async with agent(model, toolsets=[bench()], system_prompt=("Be brief.",)) as backend:
        return await events_of(backend, request(purpose="count", **fields))


async def test_openai_counts_what_it_would_be_asked(responses: FakeResponses) -> None:
    options: Any = {"temperature": 0.5, "verbosity": "low", "max_output_tokens": 99}
    model = test_responses_wire.spec(responses, "words-3", extra_body={"store": True})
    events = await counted(model, tools=[LOOK], options=options)
    [body] = responses.counted
    assert (body["model"], [tool["name"] for tool in body["tools"]]) == (
        "words-3",
        ["look", "mine"],
    )
    assert "Be brief." in str(body) and "hello there" in str(body)
    assert not {"temperature", "store", "max_output_tokens"} & body.keys()
    assert finished(events).usage.input_tokens > 100
    assert (finished(events).detail, len(events)) == (None, 1)
    assert not responses.requests  # nothing was answered


async def test_a_format_counts(responses: FakeResponses) -> None:
    model = test_responses_wire.spec(responses, "words-3")
    await counted(model, format={"type": "json_object"})
    assert responses.counted[0]["text"]["format"] == {"type": "json_object"}


async def test_anthropic_counts_too(anthropic: FakeAnthropic) -> None:
    model = test_anthropic_wire.spec(anthropic, "words-3")
    alone = finished(await counted(model))
    assert (alone.usage.input_tokens > 0, alone.detail) == (True, None)
    more = finished(await counted(model, text="hello there and here"))
    assert more.usage.input_tokens > alone.usage.input_tokens
    assert not anthropic.requests


async def test_where_nobody_counts_it_is_estimated(
    upstream: FakeUpstream, responses: FakeResponses
) -> None:
    for model in (spec(upstream, "words-3"), test_responses_wire.spec(responses, "status-404")):
        end = finished(await counted(model))
        assert (end.usage.input_tokens > 30, end.detail) == (True, ESTIMATED)
    assert not upstream.requests


@pytest.mark.parametrize(
    ("status", "code"), [(401, "upstream_rejected_us"), (500, "upstream_error")]
)
async def test_a_provider_that_fails_is_told_of(
    responses: FakeResponses, status: int, code: str
) -> None:
    events = await counted(test_responses_wire.spec(responses, f"status-{status}"))
    assert failed(events).code == code and "sk-secret" not in failed(events).message


async def test_a_summary_is_asked_for_without_the_agents_tools(upstream: FakeUpstream) -> None:
    async with agent(spec(upstream, "words-3"), toolsets=[bench()]) as backend:
        await events_of(backend, request(purpose="summary"))
        await events_of(backend, request())
    summary, answer = upstream.requests
    assert "tools" not in summary.body and "tools" in answer.body


async def test_who_counts_only_a_part_of_it_is_not_asked(responses: FakeResponses) -> None:
    model = test_responses_wire.spec(responses, "words-3")
    async with chain_of(model) as chain:
        [wire] = chain.models
        assert isinstance(wire, ForeignWire)
        google = replace(wire, spec=replace(model, wire="google"))
        context = RunContext(no_gate, lambda _: None)
        step = Step(request(), to_messages(request().transcript), ModelRequestParameters(), context)
        assert await google.count(step) is None
        assert isinstance(await wire.count(step), int)
    assert len(responses.counted) == 1
