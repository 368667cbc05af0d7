"""Models and tools that do what they should not, and runs that find less than they began with."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import Bench, agent, attempts, bench, looked, of, planner
from tests.worker.agent_lane.test_answering import NUMBER
from tests.worker.backends.driving import events_of, finished, request, spec, text_in
from trunkline_shared.config.models import Limits
from trunkline_shared.events import (
    ActivityEnd,
    ActivityOutput,
    TextDelta,
    ToolCallStart,
    Usage,
)
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec


class Away(Bench):
    """Its server cannot be reached."""

    async def tools(self) -> Sequence[ToolSpec]:
        raise ToolError("The server cannot be reached.")


async def test_the_calls_of_tools_that_are_gone_are_not_the_callers(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    run = attempts(plan({"calls": [("look", {})]}, {"say": "k"}))
    async with planner(upstream, tmp_path, bench()) as backend:
        with pytest.raises(asyncio.CancelledError):
            await run.attempt(backend, dies_after=1)
    async with planner(upstream, tmp_path, Away({"look": looked})) as backend:
        again = await run.attempt(backend)
    (end,) = of(ActivityEnd, run.log)
    assert end.error.startswith("There is no tool 'look'")
    assert (text_in(again), finished(again).reason) == ("k", "stop")
    assert not of(ToolCallStart, run.log)


async def test_an_answer_given_twice_is_corrected_once(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    wrong = {"calls": [("answer", {"n": "x"}), ("answer", {"n": 1})]}
    async with planner(upstream, tmp_path, structured_output="tool") as backend:
        run = request(plan(wrong, {"calls": [("answer", {"n": 2})]}), format=NUMBER)
        assert text_in(await events_of(backend, run)) == '{"n": 2}'
    _, said, *told = upstream.requests[1].body["messages"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert ids == [each["tool_call_id"] for each in told] == ["call_0_0", "call_0_1"]


async def test_what_is_held_back_keeps_its_log_probabilities(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async with planner(upstream, tmp_path, bench()) as backend:
        run = request(
            plan({"say": '{"n": 17}'}), format=NUMBER, options={"logprobs": True}, stream=True
        )
        events = await events_of(backend, run)
    assert text_in(events) == '{"n": 17}'
    assert all(event.logprobs for event in of(TextDelta, events))


async def test_of_a_prompted_answer_that_is_cut_off_nothing_is_lost(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    said = '{"n": [1], "m": "hel'
    async with planner(upstream, tmp_path, structured_output="prompted") as backend:
        run = request(plan({"say": said, "finish": "length"}), format=NUMBER)
        events = await events_of(backend, run)
    assert (text_in(events), finished(events).reason) == (said, "length")


async def test_what_has_no_price_lifts_no_limit(upstream: FakeUpstream, tmp_path: Path) -> None:
    async def ask(_: Mapping[str, Any], call: Invocation) -> str:
        call.spent(Usage(1, 1))
        return "asked"

    prompt = plan(*[{"say": "on ", "calls": [("ask", {})]}] * 9)
    model = spec(upstream, "plan", rates=(0.00001, 0.001))
    limits = Limits(max_cost=0.01)
    async with agent(
        model, toolsets=[Bench({"ask": ask})], root=tmp_path, limits=limits
    ) as backend:
        end = finished(await events_of(backend, request(prompt)))
    assert (end.reason, end.detail) == ("length", "limits.max_cost reached")
    assert end.usage.cost is None


async def test_half_of_a_surrogate_pair_ends_no_run(upstream: FakeUpstream, tmp_path: Path) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        call.say("a\udcffb")
        return "a\udcffb\n[done]"

    run = attempts(plan({"calls": [("work", {})]}))
    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        await run.attempt(backend)
    assert [e.text for e in of(ActivityOutput, run.log)] == ["a?b", "\n[done]"]
    assert text_in(run.log) == "a?b\n[done]"


async def test_a_full_disk_is_a_failed_call(upstream: FakeUpstream, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with planner(upstream, tmp_path / "file", bench()) as backend:
        events = await events_of(backend, request(plan({"calls": [("look", {})]}, {"say": "k"})))
    (end,) = of(ActivityEnd, events)
    assert end.error == "The tool has no directory to work in now."
    assert (text_in(events), finished(events).reason) == ("k", "stop")


@pytest.mark.parametrize("arguments", ['{"at": ', '{"at": NaN}', "[1]"])
async def test_arguments_that_are_no_object_go_back_as_one(
    upstream: FakeUpstream, tmp_path: Path, arguments: str
) -> None:
    async with planner(upstream, tmp_path, bench()) as backend:
        await events_of(backend, request(plan({"calls": [("look", arguments)]}, {"say": "k"})))
    _, said, _ = upstream.requests[1].body["messages"]
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"INVALID_JSON": arguments}


async def test_words_before_the_result_are_shown_once(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        call.say("I look. ")
        call.say("I saw it.")
        return "I saw it."

    async with planner(upstream, tmp_path, bench(work=work)) as backend:
        events = await events_of(backend, request(plan({"calls": [("work", {})]})))
    assert [e.text for e in of(ActivityOutput, events)] == ["I look. ", "I saw it."]
