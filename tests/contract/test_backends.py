"""What every backend promises, tested for each of them. A new backend joins `BACKENDS`."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.responses import FakeResponses
from tests.fakes.upstream import FakeUpstream
from tests.worker.agent_lane import agents
from tests.worker.backends import driving
from tests.worker.backends.driving import batches_of, events_of, no_gate, request, text_in
from tests.worker.claude_code import bed
from trunkline_shared.config.models import AgentConfig, EchoSettings, Limits
from trunkline_shared.config.providers import Wire
from trunkline_shared.events import (
    Attempt,
    Created,
    Failed,
    Finished,
    RunEvent,
    Step,
    decode,
    encode,
)
from trunkline_worker.backends.base import Backend, RunContext
from trunkline_worker.backends.echo import EchoBackend
from trunkline_worker.run_writer import RunBufferFull

LONG = 100_000


@asynccontextmanager
async def echo(*, paced: bool = False, **fields: Any) -> AsyncIterator[Backend]:
    settings = EchoSettings(words=LONG if paced else 40, words_per_second=100 if paced else 0)
    yield EchoBackend(AgentConfig(name="test", type="echo", echo=settings, **fields))


@asynccontextmanager
async def chat(*, paced: bool = False, **fields: Any) -> AsyncIterator[Backend]:
    model = f"slow-{LONG}x100" if paced else "words-40"
    async with FakeUpstream() as upstream:
        async with driving.chat(driving.spec(upstream, model), **fields) as backend:
            yield backend
        await upstream.until(lambda: not upstream.open)  # nothing is left behind


@asynccontextmanager
async def lane(
    fake: FakeUpstream,
    *,
    paced: bool = False,
    wire: Wire = "chat",
    tools: bool = False,
    **more: Any,
) -> AsyncIterator[Backend]:
    name = f"slow-{LONG}x100" if paced else "words-40"
    provider = {"chat": "vllm", "responses": "openai", "anthropic": "anthropic"}[wire]
    async with fake as upstream:
        model = driving.spec(upstream, name, provider=provider, wire=wire, api_key="k")
        async with agents.agent(model, toolsets=[agents.bench()] if tools else [], **more) as made:
            yield made
        await upstream.until(lambda: not upstream.open)


def tooled(**fields: Any) -> AbstractAsyncContextManager[Backend]:
    return lane(FakeUpstream(), tools=True, **fields)


def responses(**fields: Any) -> AbstractAsyncContextManager[Backend]:
    return lane(FakeResponses(), wire="responses", **fields)


def anthropic(**fields: Any) -> AbstractAsyncContextManager[Backend]:
    return lane(FakeAnthropic(), wire="anthropic", tools=True, **fields)


def python(kind: str) -> "Making":
    """An agent of a framework, over the same upstream; `generator` speaks by itself."""

    @asynccontextmanager
    async def make(*, paced: bool = False, **fields: Any) -> AsyncIterator[Backend]:
        from tests.worker.python_objects import making  # it imports every framework

        model = f"slow-{LONG}x100" if paced else "words-40"
        async with FakeUpstream() as upstream:
            async with getattr(making, kind)(upstream, model, **fields) as backend:
                yield backend
            await upstream.until(lambda: not upstream.open)

    make.__name__ = f"python_{kind}"
    return make


@asynccontextmanager
async def claude_code(*, paced: bool = False, **fields: Any) -> AsyncIterator[Backend]:
    pytest.importorskip("claude_agent_sdk")
    model = f"slow-{LONG}x100" if paced else "words-40"
    async with FakeAnthropic() as upstream:
        with tempfile.TemporaryDirectory() as root:
            async with bed.worker(upstream, model, Path(root), toolsets=(), **fields) as backend:
                yield backend
        await upstream.until(lambda: not upstream.open)


FRAMEWORKS = ("generator", "pydantic_ai", "langgraph", "openai_agents")
BACKENDS = [
    *(echo, chat, tooled, responses, anthropic, *map(python, FRAMEWORKS)),
    pytest.param(claude_code, marks=pytest.mark.claude),
]
Making = Callable[..., AbstractAsyncContextManager[Backend]]
each_backend = pytest.mark.parametrize("making", BACKENDS)


@each_backend
async def test_a_run_ends_with_exactly_one_terminal_event(making: Making) -> None:
    async with making() as backend:
        await backend.open()
        batches = await batches_of(backend, request())
        await backend.aclose()
    events = [event for batch in batches for event in batch]
    assert all(batches)
    assert [event for event in events if isinstance(event, Finished | Failed)] == events[-1:]
    assert not [event for event in events if isinstance(event, Created | Attempt)]
    assert [decode(encode(event)) for event in events] == events


@each_backend
async def test_what_a_backend_refuses_is_a_failure_not_an_exception(making: Making) -> None:
    async with making(limits=Limits(max_cost=0.01)) as backend:
        odd: list[dict[str, Any]] = [
            {"transcript": []},
            {"tool_choice": {"mode": "required"}},
            {"format": {"type": "json_object"}},
            {"options": {"logprobs": True, "top_logprobs": 3}},
        ]
        for fields in odd:
            events = await events_of(backend, request(**fields))
            assert isinstance(events[-1], Finished | Failed)


@each_backend
async def test_runs_of_one_backend_do_not_mix(making: Making) -> None:
    async with making() as backend:
        alone = text_in(await events_of(backend, request("a b c")))
        answers = await asyncio.gather(*(events_of(backend, request("a b c")) for _ in range(50)))
    assert {text_in(answer) for answer in answers} == {alone}


@each_backend
async def test_nothing_begins_before_the_gate_opens(making: Making) -> None:
    opened, asked = asyncio.Event(), asyncio.Event()

    async def gate() -> None:
        asked.set()
        await opened.wait()

    async with making() as backend:
        batches: list[Sequence[RunEvent]] = []
        run = backend.run(request(), RunContext(gate, batches.append))
        task = asyncio.create_task(run, name="run")
        await asked.wait()
        assert not task.done() and not batches
        opened.set()
        assert await task


@each_backend
async def test_cancelling_the_task_ends_the_run(making: Making) -> None:
    begun = asyncio.Event()

    async with making(paced=True) as backend:
        context = RunContext(no_gate, lambda _: begun.set())
        task = asyncio.create_task(backend.run(request(), context), name="run")
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@each_backend
async def test_what_emit_raises_ends_the_run(making: Making) -> None:
    def full(_: Sequence[RunEvent]) -> None:
        raise RunBufferFull("full")

    async with making(paced=True) as backend:
        with pytest.raises(RunBufferFull):
            await backend.run(request(), RunContext(no_gate, full))


@each_backend
async def test_the_agents_token_limit_holds(making: Making) -> None:
    async with making(limits=Limits(max_tokens=7)) as backend:
        events = await events_of(backend, request(options={"max_output_tokens": 30}))
    end = driving.finished(events)
    assert len([event for event in events if not isinstance(event, Step)]) == 8
    assert (end.reason, end.detail) == ("length", "limits.max_tokens reached")
    assert end.usage.output_tokens == 7
