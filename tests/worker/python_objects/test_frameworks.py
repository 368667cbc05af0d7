"""Agents of other people's frameworks, each over a model that speaks the real protocol."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.backends.driving import (
    events_of,
    failed,
    finished,
    no_gate,
    request,
    said,
    text_in,
)
from tests.worker.python_objects import making
from tests.worker.python_objects.making import (
    FRAMEWORKS,
    Making,
    backend_of,
    client,
    langgraph,
    pydantic_ai,
)
from trunkline_shared.config.models import Limits
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Failed,
    ReasoningDelta,
    RunEvent,
    TextDelta,
)
from trunkline_shared.transcript import Item
from trunkline_worker.backends.base import RunContext

each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream
        await upstream.until(lambda: not upstream.open)


@each_framework
async def test_an_agent_streams_its_words_and_tells_what_they_took(
    framework: Making, upstream: FakeUpstream
) -> None:
    async with framework(upstream) as backend:
        events = await events_of(backend, request())
    assert text_in(events) == words(40)
    assert len([event for event in events if isinstance(event, TextDelta)]) == 40
    end = finished(events)
    assert end.reason == "stop"
    assert end.usage.output_tokens == 40
    assert end.usage.input_tokens > 0


@each_framework
async def test_an_agents_own_tools_are_shown_and_the_answer_follows(
    framework: Making, upstream: FakeUpstream
) -> None:
    making.calls.clear()
    async with framework(upstream, "tools") as backend:
        events = await events_of(backend, request())
    assert len(making.calls) == 1
    start = next(event for event in events if isinstance(event, ActivityStart))
    assert (start.index, start.name) == (0, "look")
    arguments = "".join(event.text for event in events if isinstance(event, ActivityArgs))
    assert arguments.startswith("{")
    output = "".join(event.text for event in events if isinstance(event, ActivityOutput))
    assert output == f"saw {making.calls[0]}"
    ended = events.index(ActivityEnd(0))
    assert "saw" in text_in(events[ended:])
    assert finished(events).reason == "stop"


@each_framework
async def test_an_agent_is_told_all_that_was_said(
    framework: Making, upstream: FakeUpstream
) -> None:
    transcript: list[Item] = [
        said("Be short.", "system"),
        said("one"),
        said("two", "assistant"),
        {"type": "tool_call", "id": "c1", "name": "look", "arguments": "{}", "kind": "function"},
        {"type": "tool_result", "id": "c1", "content": [{"type": "text", "text": "seen"}]},
        said("three"),
    ]
    async with framework(upstream, system_prompt=("From the file.",)) as backend:
        await events_of(backend, request(transcript=transcript))
    sent = str(upstream.requests[-1].body["messages"])
    places = [
        sent.index(each) for each in ("From the file.", "Be short.", "one", "two", "seen", "three")
    ]
    assert places == sorted(places)
    if framework is not langgraph:
        assert sent.count("Made of code.") == 1


@each_framework
@pytest.mark.parametrize("arguments", ["", "{", "7", '{"a": 1}'])
@pytest.mark.parametrize("kind", ["function", "custom"])
async def test_an_agent_is_told_of_calls_however_they_were_written(
    framework: Making, upstream: FakeUpstream, kind: Any, arguments: str
) -> None:
    items: list[Item] = [
        said("q"),
        {"type": "tool_call", "id": "c1", "name": "f", "arguments": arguments, "kind": kind},
        {"type": "tool_result", "id": "c1", "content": [{"type": "text", "text": "r"}]},
        said("go"),
    ]
    async with framework(upstream, "words-2") as backend:
        assert text_in(await events_of(backend, request(transcript=items))) == words(2)


@each_framework
async def test_images_reach_the_model(framework: Making, upstream: FakeUpstream) -> None:
    url = "data:image/png;base64,QUJD"
    item: Item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "text", "text": "see"}, {"type": "image", "url": url}],
    }
    async with framework(upstream) as backend:
        await events_of(backend, request(transcript=[item]))
    assert url in str(upstream.requests[-1].body["messages"])


@pytest.mark.parametrize("framework", [making.pydantic_ai, making.openai_agents])
async def test_a_callers_settings_reach_the_model(
    framework: Making, upstream: FakeUpstream
) -> None:
    async with framework(upstream, settings={"temperature": 0.5, "top_p": 0.9}) as backend:
        options: Any = {"temperature": 0.1, "stop": ["w9"], "seed": 7, "max_output_tokens": 30}
        await events_of(backend, request(options=options))
    body = upstream.requests[-1].body
    assert (body["temperature"], body["top_p"], body["stop"], body["seed"]) == (
        *(0.1, 0.9, ["w9"], 7),
    )
    assert 30 in (body.get("max_tokens"), body.get("max_completion_tokens"))


@each_framework
@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("status-401", "upstream_rejected_us"),
        ("status-429", "upstream_rate_limited"),
        ("status-500", "upstream_error"),
    ],
)
async def test_a_provider_that_refuses_fails_the_run_without_internals(
    framework: Making, upstream: FakeUpstream, model: str, code: str
) -> None:
    async with framework(upstream, model) as backend:
        failure = failed(await events_of(backend, request()))
    assert failure.code == code
    assert "sk-test" not in failure.message


@each_framework
async def test_cancelling_closes_the_models_stream(
    framework: Making, upstream: FakeUpstream
) -> None:
    begun = asyncio.Event()
    async with framework(upstream, "slow-100000x50") as backend:
        context = RunContext(no_gate, lambda _: begun.set())
        task = asyncio.create_task(backend.run(request(), context), name="run")
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.until(lambda: not upstream.open)


@each_framework
async def test_tool_calls_end_at_their_limit(framework: Making, upstream: FakeUpstream) -> None:
    making.calls.clear()
    async with framework(upstream, "tools", limits=Limits(max_tool_calls=0)) as backend:
        end = finished(await events_of(backend, request()))
    assert (end.reason, end.detail) == ("length", "limits.max_tool_calls reached")


@each_framework
async def test_requests_end_at_their_limit(framework: Making, upstream: FakeUpstream) -> None:
    async with framework(upstream, "tools", limits=Limits(max_requests=1)) as backend:
        end = finished(await events_of(backend, request()))
    assert (end.reason, end.detail) == ("length", "limits.max_requests reached")
    assert len(upstream.requests) == 1
    assert end.usage.input_tokens > 0


async def test_an_answer_that_is_no_text_is_said_as_json(upstream: FakeUpstream) -> None:
    class Answer(BaseModel):
        total: int

    async with client(upstream) as openai:
        model = OpenAIChatModel("tools", provider=OpenAIProvider(openai_client=openai))
        backend = await backend_of(Agent(model, output_type=Answer))
        events = await events_of(backend, request())
    assert Answer.model_validate_json(text_in(events))
    assert not [event for event in events if isinstance(event, ActivityStart)]


async def test_what_a_model_thinks_is_shown_as_such(upstream: FakeUpstream) -> None:
    async with pydantic_ai(upstream, "reasoning") as backend:
        events = await events_of(backend, request())
    assert any(isinstance(event, ReasoningDelta) for event in events)
    assert finished(events).usage.reasoning_tokens > 0


async def test_a_graph_that_remembers_is_told_only_what_is_new(upstream: FakeUpstream) -> None:
    first = [said("one")]
    second = [*first, said(words(40), "assistant"), said("two")]
    saver = InMemorySaver()
    async with langgraph(upstream, checkpointer=saver, system_prompt=("Be brief.",)) as backend:
        for transcript in (first, second):
            run = request(transcript=transcript, conversation="c1", principal="p1")
            assert text_in(await events_of(backend, run)) == words(40)
        told = [message["content"] for message in upstream.requests[-1].body["messages"]]
        assert told == ["Be brief.", "one", words(40), "two"]
        run = request(transcript=[said("other")], conversation="c1", principal="p2")
        await events_of(backend, run)
        assert len(upstream.requests[-1].body["messages"]) == 2
        threads = set(saver.storage)
        await events_of(backend, request("alone"))
        assert len(upstream.requests[-1].body["messages"]) == 2
        assert set(saver.storage) == threads


async def test_a_run_that_was_shown_and_lost_is_not_begun_again(upstream: FakeUpstream) -> None:
    journal: list[bytes] = []
    shown: list[RunEvent] = []

    async def record(entry: bytes, events: Any) -> None:
        journal.append(entry)
        shown.extend(events)

    async with pydantic_ai(upstream) as backend:
        await backend.run(request(), RunContext(no_gate, shown.extend, recorder=record))
        assert len(journal) == 1
        assert text_in(shown) == words(40)
        again = RunContext(no_gate, shown.extend, attempt=2, journal=journal)
        (end,) = await backend.run(request(), again)
    assert isinstance(end, Failed)
    assert end.code == "worker_lost"
    assert len(upstream.requests) == 1


@each_framework
async def test_tokens_of_all_requests_end_at_their_limit(
    framework: Making, upstream: FakeUpstream
) -> None:
    async with framework(upstream, "tools", limits=Limits(max_total_tokens=2)) as backend:
        end = finished(await events_of(backend, request()))
    assert (end.reason, end.detail) == ("length", "limits.max_total_tokens reached")
