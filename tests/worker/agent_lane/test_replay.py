"""What a later attempt of a run does again, and what not."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import Attempts, Bench, attempts, looked, of, planner
from tests.worker.backends.driving import finished, text_in
from trunkline_shared.config.toolsets import Effect
from trunkline_shared.events import (
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Finished,
    ToolCallStart,
    Usage,
)
from trunkline_worker.agent_lane.calls import UNKNOWN_OUTCOME
from trunkline_worker.toolsets.base import Invocation

TWICE = plan(
    {"say": "one ", "calls": [("look", {"at": "a"})]},
    {"say": "two ", "calls": [("look", {"at": "b"})]},
    {"say": "three"},
)


def one(effect: Effect) -> Bench:
    return Bench({"look": looked}, {"look": effect})


async def run_through(upstream: FakeUpstream, root: Path, run: Attempts, tools: Bench) -> None:
    async with planner(upstream, root, tools) as backend:
        await run.attempt(backend)


@pytest.mark.parametrize("effect", ["pure", "idempotent", "at_most_once"])
async def test_wherever_a_worker_dies_nothing_finished_is_done_again(
    upstream: FakeUpstream, tmp_path: Path, effect: Effect
) -> None:
    whole = attempts(TWICE)
    await run_through(upstream, tmp_path, whole, one(effect))
    records = len(whole.journal)
    assert records == (4 if effect == "pure" else 6)
    end = finished(whole.log)
    for dies_after in range(records):
        upstream.requests.clear()
        tools, run = one(effect), attempts(TWICE)
        async with planner(upstream, tmp_path, tools) as backend:
            with pytest.raises(asyncio.CancelledError):
                await run.attempt(backend, dies_after)
            shown = len(run.log)
            await run.attempt(backend)
        if effect != "at_most_once":  # then the model reads another text
            assert finished(run.log).usage == end.usage
        assert [e.index for e in of(ActivityStart, run.log)] == [0, 1]
        assert sorted(e.index for e in of(ActivityEnd, run.log)) == [0, 1]
        # One model call and one tool call may have been in the air.
        assert len(upstream.requests) <= 4
        assert len(tools.called) <= (2 if effect == "at_most_once" else 3)
        assert text_in(run.log[shown:]).endswith("three")


async def test_a_finished_run_of_steps_is_told_without_a_word(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    run, tools = attempts(TWICE), one("idempotent")
    async with planner(upstream, tmp_path, tools) as backend:
        await run.attempt(backend)
        asked, called = len(upstream.requests), len(tools.called)
        again = await run.attempt(backend)
    assert (asked, called, len(tools.called)) == (3, 2, 2)
    assert len(upstream.requests) == 4  # the last step alone, which leaves no record
    assert [type(event) for event in again if not hasattr(event, "text")] == [Finished]
    assert text_in(again) == "three"


async def begun_once(
    upstream: FakeUpstream, root: Path, effect: Effect
) -> tuple[Attempts, list[str]]:
    """A run whose worker dies while its tool works."""
    calls: list[str] = []

    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        calls.append(call.call_id)
        if len(calls) == 1:
            call.say("half")
            asyncio.current_task().cancel()  # type: ignore[union-attr]  # within a task
            await asyncio.Event().wait()
        return "whole"

    run = attempts(plan({"calls": [("work", {})]}))
    async with planner(upstream, root, Bench({"work": work}, {"work": effect})) as backend:
        task = asyncio.create_task(run.attempt(backend), name="attempt")
        await asyncio.wait([task])
        assert task.cancelled()
        await run.attempt(backend)
    return run, calls


@pytest.mark.parametrize("effect", ["pure", "idempotent"])
async def test_a_call_that_may_be_repeated_is_made_again(
    upstream: FakeUpstream, tmp_path: Path, effect: Effect
) -> None:
    run, calls = await begun_once(upstream, tmp_path, effect)
    assert calls == ["call_0_0", "call_0_0"]
    assert [e.text for e in of(ActivityOutput, run.log)] == ["half", "whole"]
    assert (text_in(run.log), len(upstream.requests)) == ("whole", 2)


async def test_of_a_call_that_may_not_the_model_is_told_that_its_outcome_is_unknown(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    run, calls = await begun_once(upstream, tmp_path, "at_most_once")
    assert calls == ["call_0_0"]
    assert of(ActivityEnd, run.log) == [ActivityEnd(0, UNKNOWN_OUTCOME)]
    assert UNKNOWN_OUTCOME in text_in(run.log)
    assert len(upstream.requests) == 2


async def test_of_parallel_calls_only_the_open_one_is_made_again(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    calls: list[str] = []

    async def work(arguments: Mapping[str, Any], call: Invocation) -> str:
        at = str(arguments["at"])
        calls.append(at)
        if calls.count("b") == 1 and at == "b":
            await asyncio.Event().wait()
        return at

    run = attempts(plan({"calls": [("work", {"at": "a"}), ("work", {"at": "b"})]}, {"say": "k"}))
    async with planner(upstream, tmp_path, Bench({"work": work})) as backend:
        task = asyncio.create_task(run.attempt(backend), name="attempt")
        await run.recorded(2)
        task.cancel()
        await asyncio.wait([task])
        await run.attempt(backend)
    assert sorted(calls) == ["a", "b", "b"]
    told = upstream.requests[-1].body["messages"][-2:]
    assert [message["content"] for message in told] == ["a", "b"]


async def test_what_a_tool_spent_counts_in_every_attempt(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async def ask(_: Mapping[str, Any], call: Invocation) -> str:
        call.spent(Usage(1000, 500, cost=0.25))
        return "asked"

    run = attempts(plan({"calls": [("ask", {})]}, {"say": "k"}))
    async with planner(upstream, tmp_path, Bench({"ask": ask})) as backend:
        first = finished(await run.attempt(backend)).usage
        again = finished(await run.attempt(backend)).usage
    assert first == again
    assert again.input_tokens > 1000


async def test_a_mixed_turn_goes_on_after_a_crash(upstream: FakeUpstream, tmp_path: Path) -> None:
    run = attempts(
        plan({"calls": [("look", {"at": "a"}), ("pay", {})]}),
        tools=[{"type": "function", "name": "pay"}],
    )
    tools = one("idempotent")
    async with planner(upstream, tmp_path, tools) as backend:
        with pytest.raises(asyncio.CancelledError):
            await run.attempt(backend, dies_after=2)
        again = await run.attempt(backend)
    assert [e.name for e in of(ToolCallStart, run.log)] == ["pay"]
    assert finished(again).reason == "tool_calls"
    assert (len(upstream.requests), len(tools.called)) == (1, 2)


async def test_a_journal_of_another_version_ends_the_run(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    run = attempts(TWICE, store=False)
    run.journal.append(b'{"v": 99}')
    async with planner(upstream, tmp_path, one("pure")) as backend:
        (end,) = await run.attempt(backend)
    assert end.code == "worker_lost"  # type: ignore[union-attr]  # it is a Failed
