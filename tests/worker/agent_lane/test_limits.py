"""A run that reaches a limit ends with what there is, and says which."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.patience import until
from tests.worker.agent_lane.agents import Bench, agent, bench, of
from tests.worker.backends.driving import events_of, finished, no_gate, request, spec, text_in
from trunkline_shared.config.models import Limits
from trunkline_shared.events import ActivityStart, Finished, RunEvent, Usage
from trunkline_worker.backends.base import Asker, Budget, RunContext
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.base import Invocation

LONG = plan(*[{"say": "on ", "calls": [("look", {}), ("look", {})]}] * 9)


async def ended(
    upstream: FakeUpstream, root: Path, limits: Limits, tools: Bench | None = None, **spent: Any
) -> tuple[Finished, list[RunEvent]]:
    model = spec(upstream, "plan", **spent)
    async with agent(model, toolsets=[tools or bench()], root=root, limits=limits) as backend:
        events = await events_of(backend, request(LONG))
    return finished(events), events


async def test_requests(upstream: FakeUpstream, tmp_path: Path) -> None:
    end, events = await ended(upstream, tmp_path, Limits(max_requests=2))
    assert (end.reason, end.detail) == ("length", "limits.max_requests reached")
    assert len(upstream.requests) == 2
    assert text_in(events) == "on on "
    assert end.usage.output_tokens > 0 and end.model == "plan"


async def test_tool_calls(upstream: FakeUpstream, tmp_path: Path) -> None:
    tools = bench()
    end, events = await ended(upstream, tmp_path, Limits(max_tool_calls=3), tools)
    assert (end.reason, end.detail) == ("length", "limits.max_tool_calls reached")
    assert len(tools.called) == len(of(ActivityStart, events)) == 2


async def test_tool_calls_are_bounded_by_the_caller_too(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    for own, asked, made in ((None, 3, 2), (9, 1, 0), (2, 9, 2)):
        tools, limits = bench(), Limits(max_tool_calls=own)
        asking = request(LONG)
        asking.max_tool_calls = asked
        model = spec(upstream, "plan")
        async with agent(model, toolsets=[tools], root=tmp_path, limits=limits) as backend:
            end = finished(await events_of(backend, asking))
        assert (end.detail, len(tools.called)) == ("limits.max_tool_calls reached", made)


async def test_total_tokens(upstream: FakeUpstream, tmp_path: Path) -> None:
    end, _ = await ended(upstream, tmp_path, Limits(max_total_tokens=400))
    assert (end.reason, end.detail) == ("length", "limits.max_total_tokens reached")
    assert 150 <= end.usage.input_tokens + end.usage.output_tokens < 600


async def test_cost(upstream: FakeUpstream, tmp_path: Path) -> None:
    end, _ = await ended(upstream, tmp_path, Limits(max_cost=0.01), rates=(0.00001, 0.001))
    assert (end.reason, end.detail) == ("length", "limits.max_cost reached")
    assert end.usage.cost == pytest.approx(0.01, rel=0.5)


async def test_what_a_tool_spends_counts(upstream: FakeUpstream, tmp_path: Path) -> None:
    left: list[Budget] = []

    async def ask(_: Mapping[str, Any], call: Invocation) -> str:
        left.append(call.left())
        call.spent(Usage(400, 200, cost=0.5))
        return "asked"

    tools = Bench({"look": ask})
    end, _ = await ended(upstream, tmp_path, Limits(max_total_tokens=1000), tools)
    assert end.detail == "limits.max_total_tokens reached"
    assert end.usage.input_tokens > 800
    tokens = left[0].tokens
    assert tokens is not None and 450 < tokens < 500  # half of it: two are asked at once


async def test_a_run_that_is_stopped_tells_what_all_its_steps_used(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    asked = plan({"calls": [("look", {})]}, {"say": "one two three", "stay": True})
    used: list[Usage] = []
    heard: list[RunEvent] = []
    context = RunContext(no_gate, heard.extend, used=used.append)
    model = spec(upstream, "plan")
    async with agent(model, toolsets=[bench()], root=tmp_path) as backend:
        task = asyncio.create_task(backend.run(request(asked), context))
        await until(lambda: text_in(heard) == "one two three")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    cut, before = used  # the step that was under way, and the one before it
    assert before.input_tokens > 0 and before.output_tokens > 0
    assert cut.input_tokens > 0 and cut.output_tokens > 0


async def test_calls_that_are_made_at_once_share_what_is_left(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    left: list[Budget] = []

    async def ask(_: Mapping[str, Any], call: Invocation) -> str:
        left.append(call.left())
        return "asked"

    limits = Limits(max_total_tokens=1000, max_cost=1.0, max_requests=1)
    await ended(upstream, tmp_path, limits, Bench({"look": ask}))
    assert [(each.cost, (each.tokens or 0) < 500) for each in left] == [(0.5, True)] * 2


async def test_a_run_on_behalf_of_another_has_its_budget_and_its_workspace(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    seen: list[Path] = []

    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        seen.append(call.workspace.path)
        return "ok"

    theirs = tmp_path / "theirs"
    asker = Asker(("boss",), Workspace(theirs), Budget(tokens=300))
    events: list[RunEvent] = []
    context = RunContext(no_gate, events.extend, asker=asker)
    tools = Bench({"look": work})
    async with agent(spec(upstream, "plan"), toolsets=[tools], root=tmp_path / "no") as backend:
        events += await backend.run(request(LONG), context)
    assert finished(events).detail == "limits.max_total_tokens reached"
    assert set(seen) == {theirs}


async def test_an_answer_cut_by_its_provider_calls_nothing(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    tools = bench()
    prompt = plan({"say": "so ", "calls": [("look", '{"at": "')], "finish": "length"})
    async with agent(spec(upstream, "plan"), toolsets=[tools], root=tmp_path) as backend:
        events = await events_of(backend, request(prompt))
    assert finished(events).reason == "length"
    assert (text_in(events), tools.called) == ("so ", [])
