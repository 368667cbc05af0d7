"""Agents that are Python objects, whatever their framework; here async generators."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from langgraph.graph import MessagesState, StateGraph

from tests.worker.backends.driving import (
    events_of,
    failed,
    finished,
    no_gate,
    request,
    said,
    text_in,
)
from tests.worker.python_objects.making import backend_of
from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import (
    ActivityEnd,
    ActivityStart,
    Failed,
    Finished,
    ReasoningDelta,
    RunEvent,
    TextDelta,
    Usage,
)
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import RunContext
from trunkline_worker.python_objects.backend import PythonBackend


async def test_a_generator_yields_texts_and_events() -> None:
    async def agent(request: RunRequest) -> AsyncIterator[Any]:
        yield ReasoningDelta("hm")
        yield "Hello "
        yield ActivityStart(0, "c1", "look", "mine")
        yield ActivityEnd(0)
        yield TextDelta("there.")
        yield Usage(3, 2, cost=0.5)

    events = await events_of(await backend_of(agent), request())
    assert text_in(events) == "Hello there."
    assert [type(event) for event in events] == [
        *(ReasoningDelta, TextDelta, ActivityStart, ActivityEnd, TextDelta, Finished)
    ]
    assert finished(events).usage == Usage(3, 2, cost=0.5)


async def test_a_generator_is_given_the_whole_request() -> None:
    asked: list[RunRequest] = []

    class Agent:
        async def __call__(self, request: RunRequest) -> AsyncIterator[str]:
            asked.append(request)
            yield "yes"

    fields = {"system_prompt": ("Be brief.",), "limits": Limits(max_tokens=9)}
    backend = await backend_of(Agent(), settings={"temperature": 0.5, "top_p": 1}, **fields)
    events = await events_of(backend, request("hi", options={"temperature": 0}))
    assert text_in(events) == "yes"
    (given,) = asked
    assert given.transcript == [said("Be brief.", "system"), said("hi")]
    assert given.options == {"temperature": 0, "top_p": 1, "max_output_tokens": 9}


async def test_a_generator_may_say_how_it_ends() -> None:
    async def agent(request: RunRequest) -> AsyncIterator[Any]:
        yield "so far"
        yield Finished("length", detail="tired")

    end = finished(await events_of(await backend_of(agent), request()))
    assert (end.reason, end.detail) == ("length", "tired")

    async def other(request: RunRequest) -> AsyncIterator[Any]:
        yield Failed("upstream_error", "Nobody there.")

    assert failed(await events_of(await backend_of(other), request())).message == "Nobody there."


async def test_what_an_agent_raises_is_logged_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def agent(request: RunRequest) -> AsyncIterator[str]:
        yield "so far"
        raise KeyError("the internal table")

    events = await events_of(await backend_of(agent), request())
    assert text_in(events) == "so far"
    failure = failed(events)
    assert (failure.code, failure.message) == ("server_error", "The agent failed.")
    assert "the internal table" in vars(caplog.records[-1])["fields"]["cause"]


async def test_an_agent_that_yields_what_it_should_not_fails() -> None:
    async def agent(request: RunRequest) -> AsyncIterator[Any]:
        yield 42

    assert failed(await events_of(await backend_of(agent), request())).code == "server_error"


async def test_a_limit_ends_a_generator_and_what_it_holds_open() -> None:
    closed = asyncio.Event()

    async def agent(request: RunRequest) -> AsyncIterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.set()

    events = await events_of(await backend_of(agent, limits=Limits(max_tokens=3)), request())
    assert text_in(events) == "word word word "
    assert finished(events).detail == "limits.max_tokens reached"
    assert closed.is_set()


async def test_nobody_waits_for_an_agent_that_does_not_end() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def agent(request: RunRequest) -> AsyncIterator[str]:
        yield "begun"
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        yield "never heard"

    backend = await backend_of(agent)
    events: list[RunEvent] = []

    def emit(batch: Sequence[RunEvent]) -> None:
        events.extend(batch)
        begun.set()

    run = asyncio.create_task(backend.run(request(), RunContext(no_gate, emit)), name="run")
    await begun.wait()
    run.cancel()
    async with asyncio.timeout(2):
        with pytest.raises(asyncio.CancelledError):
            await run
    release.set()
    await backend.aclose()
    assert events == [TextDelta("begun")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"mode": "required"}}, "tool_choice"),
        ({"format": {"type": "json_object"}}, "response_format"),
    ],
)
async def test_what_no_object_can_do_is_refused(fields: dict[str, Any], param: str) -> None:
    async def agent(request: RunRequest) -> AsyncIterator[str]:
        yield "never"

    (failure,) = await events_of(await backend_of(agent), request(**fields))
    assert isinstance(failure, Failed)
    assert (failure.code, failure.param) == ("invalid_request", param)


async def returns_text(request: RunRequest) -> str:
    return "no generator"


@pytest.mark.parametrize(
    ("thing", "complaint"),
    [
        (7, "is no agent: expected a pydantic-ai Agent"),
        (returns_text, "is no agent"),
        (StateGraph(MessagesState), "a graph that is not compiled"),
    ],
)
async def test_what_is_no_agent_is_found_before_the_first_run(thing: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        await backend_of(thing)


async def test_an_object_that_is_not_there_is_found_before_the_first_run() -> None:
    config = AgentConfig(name="test", type="python", object="no.such:agent")
    with pytest.raises(ValueError, match=r"no\.such cannot be imported"):
        await PythonBackend(config, {}).open()


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(max_total_tokens=20), "max_total_tokens"),
        (Limits(max_cost=0.2), "max_cost"),
        (Limits(max_tool_calls=2), "max_tool_calls"),
    ],
)
async def test_what_a_run_has_used_ends_it_when_it_would_go_on(
    limits: Limits, reached: str
) -> None:
    async def agent(request: RunRequest) -> AsyncIterator[Any]:
        for step in range(9):
            yield ActivityStart(step, f"c{step}", "look", "mine")
            yield ActivityEnd(step)
            yield "on "
            yield Usage(10 * (step + 1), 1, cost=0.1 * (step + 1))

    events = await events_of(await backend_of(agent, limits=limits), request())
    assert (text_in(events), finished(events).reason) == ("on on ", "length")
    assert finished(events).detail == f"limits.{reached} reached"
    assert finished(events).usage.input_tokens == 20


async def test_an_agent_that_exits_ends_its_run_and_not_the_worker() -> None:
    async def agent(request: RunRequest) -> AsyncIterator[Any]:
        yield "so far"
        raise SystemExit(3)

    events = await events_of(await backend_of(agent), request())
    assert (text_in(events), failed(events).code) == ("so far", "server_error")
