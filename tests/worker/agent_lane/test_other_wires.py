"""Google, Google Cloud, Cohere and Bedrock, with their own clients."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.others import FakeOthers
from tests.fakes.others_wire import USAGE
from tests.fakes.upstream import words
from tests.patience import until
from tests.worker.agent_lane.agents import agent, bench, of
from tests.worker.agent_lane.asking import asked, chain_of, text_of
from tests.worker.agent_lane.items import IMAGE, message
from tests.worker.backends.driving import events_of, finished, request, text_in
from trunkline_shared.config.providers import Wire
from trunkline_shared.events import (
    ActivityEnd,
    ActivityOutput,
    ReasoningDelta,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.transcript import Options, Tool
from trunkline_worker.agent_lane.models import StepFailed
from trunkline_worker.models import ModelSpec

pytestmark = pytest.mark.providers
for each in ("google.genai", "cohere", "boto3"):
    pytest.importorskip(each)

KEY = "a-very-secret-key"
LOOK: Tool = {"type": "function", "name": "look", "spec": {"type": "object", "properties": {}}}
WIRES: tuple[Wire, ...] = ("google", "google-cloud", "cohere", "bedrock")


@pytest.fixture
async def others() -> AsyncIterator[FakeOthers]:
    async with FakeOthers() as fake:
        yield fake


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bedrock's login is the machine's: a key of its own goes over TLS alone."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Wire:
    named: Wire = request.param
    return named


def spec(others: FakeOthers, wire: Wire, name: str) -> ModelSpec:
    key = None if wire == "bedrock" else KEY
    return ModelSpec(
        provider=wire, wire=wire, name=name, base_url=others.base_url, api_key=key, rates=(1.0, 2.0)
    )


async def test_it_streams_an_answer(others: FakeOthers, wire: Wire) -> None:
    transcript = [message("system", "Be brief."), message("user", "hello")]
    async with chain_of(spec(others, wire, "words-3")) as chain:
        run = asked(chain, request(transcript=transcript, options={"max_output_tokens": 50}))
        await run.step()
    assert run.events == [TextDelta(f"w{n} ") for n in range(3)]
    end = run.model.last
    assert end is not None and end.reason == "stop"
    assert (end.usage.input_tokens, end.usage.output_tokens) == USAGE
    assert end.usage.cost == USAGE[0] + 2 * USAGE[1]
    assert "Be brief." in str(others.requests[0].body)


async def test_it_is_told_what_it_has_words_for(others: FakeOthers, wire: Wire) -> None:
    options: Options = {"parallel_tool_calls": False, "service_tier": "default", "user": "somebody"}
    model = replace(spec(others, wire, "words-1"), extra_headers={"x-team": "blue"})
    async with chain_of(model) as chain:
        await asked(chain, request(tools=[LOOK], options={**options, "top_p": 0.5})).step()
    seen = others.requests[0]
    assert seen.headers["x-team"] == "blue"
    assert "0.5" in str(seen.body)


async def test_a_body_of_the_operators_is_refused_where_it_would_be_ignored(
    others: FakeOthers, wire: Wire
) -> None:
    with pytest.raises(ValueError, match=r"settings\.extra_body"):
        async with chain_of(replace(spec(others, wire, "words-1"), extra_body={"x": 1})):
            pass


async def test_an_image_goes_along_or_is_refused(others: FakeOthers, wire: Wire) -> None:
    transcript = [message("user", "see", IMAGE)]
    async with chain_of(spec(others, wire, "words-1")) as chain:
        run = asked(chain, request(transcript=transcript))
        if wire == "cohere":
            with pytest.raises(StepFailed) as failure:
                await run.step()
            assert failure.value.failed.code == "invalid_request"
            return
        await run.step()
    assert IMAGE["url"].partition(",")[2] in str(others.requests[0].body)


async def test_each_piece_is_heard_when_it_is_said(others: FakeOthers, wire: Wire) -> None:
    async with chain_of(spec(others, wire, "slow-40x20")) as chain:
        run = asked(chain)
        step = asyncio.create_task(run.step())
        await until(lambda: run.events)
        assert len(run.events) < 20
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
    await others.until(lambda: bool(others.closed))


async def test_it_stops_at_the_limit(others: FakeOthers, wire: Wire) -> None:
    async with chain_of(spec(others, wire, "words-9")) as chain:
        run = asked(chain, request(options={"max_output_tokens": 2}))
        await run.step()
    assert text_of(run.events) == words(2)
    assert run.model.last is not None and run.model.last.reason == "length"


async def test_what_it_thinks_is_heard_apart(others: FakeOthers, wire: Wire) -> None:
    async with chain_of(spec(others, wire, "thinking")) as chain:
        run = asked(chain)
        await run.step()
    thoughts = [event for event in run.events if isinstance(event, ReasoningDelta)]
    assert text_of(thoughts) == "Let me think."
    assert run.events[-1] == TextDelta("Done")


async def test_the_callers_tools_are_called(others: FakeOthers, wire: Wire) -> None:
    async with chain_of(spec(others, wire, "tools")) as chain:
        run = asked(chain, request(tools=[LOOK]))
        await run.step()
    (start,) = [event for event in run.events if isinstance(event, ToolCallStart)]
    assert start.name == "look"
    arguments = [event for event in run.events if isinstance(event, ToolArgsDelta)]
    assert text_of(arguments).replace(" ", "") == '{"at":"x"}'
    assert run.model.last is not None and run.model.last.reason == "tool_calls"


async def test_an_agents_tools_work_over_several_steps(
    others: FakeOthers, wire: Wire, tmp_path: Path
) -> None:
    model = spec(others, wire, "tools")
    async with agent(model, toolsets=[bench()], root=tmp_path) as backend:
        events = await events_of(backend, request())
    assert of(ActivityOutput, events)[0].text == "saw x"
    assert of(ActivityEnd, events)[0].error is None
    assert text_in(events) == "The tool said: saw x"
    assert finished(events).usage.input_tokens == 2 * USAGE[0]


@pytest.mark.parametrize(
    ("name", "code", "times"),
    [
        ("status-401", "upstream_rejected_us", 1),
        ("status-429", "upstream_rate_limited", 2),
        ("status-500", "upstream_error", 2),
    ],
)
async def test_its_errors_are_told_without_the_key(
    others: FakeOthers, wire: Wire, name: str, code: str, times: int
) -> None:
    async with chain_of(spec(others, wire, name)) as chain:
        with pytest.raises(StepFailed) as failure:
            await asked(chain).step()
    assert failure.value.failed.code == code
    assert KEY not in failure.value.failed.message
    assert len(others.requests) == times  # as often as we ask, and no oftener


async def test_a_stream_that_breaks_off_is_no_answer(others: FakeOthers, wire: Wire) -> None:
    async with chain_of(spec(others, wire, "cut-2")) as chain:
        run = asked(chain)
        with pytest.raises(StepFailed) as failure:
            await run.step()
    assert text_of(run.events) == words(2)
    assert failure.value.failed.code == "upstream_error"
