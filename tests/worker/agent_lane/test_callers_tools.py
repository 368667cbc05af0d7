"""The caller's tools beside the agent's own."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import agent, bench, of, planner
from tests.worker.backends.driving import events_of, failed, finished, request, said, spec, text_in
from trunkline_shared.events import ActivityEnd, ActivityStart, ToolArgsDelta, ToolCallStart
from trunkline_shared.transcript import Item, Tool

PAY: Tool = {"type": "function", "name": "pay", "spec": {"type": "object", "properties": {}}}
NOTE: Tool = {"type": "custom", "name": "note"}


def args_in(events: list[Any]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in of(ToolArgsDelta, events):
        texts[event.index] = texts.get(event.index, "") + event.text
    return texts


async def test_a_callers_call_ends_the_run(upstream: FakeUpstream, tmp_path: Path) -> None:
    prompt = plan({"calls": [("look", {"at": "x"})]}, {"calls": [("pay", {"n": 1}), ("pay", "{")]})
    async with planner(upstream, tmp_path, bench()) as backend:
        events = await events_of(backend, request(prompt, tools=[PAY]))
    assert finished(events).reason == "tool_calls"
    assert of(ToolCallStart, events) == [
        ToolCallStart(0, "call_1_0", "pay"),
        ToolCallStart(1, "call_1_1", "pay"),
    ]
    assert args_in(events) == {0: '{"n": 1}', 1: "{"}  # as they are, whatever they are
    assert len(upstream.requests) == 2


async def test_in_a_mixed_turn_the_agents_calls_are_made_and_the_callers_returned(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    tools = bench()
    prompt = plan({"calls": [("look", {"at": "x"}), ("pay", {"n": 1})]}, {"say": "Paid."})
    async with planner(upstream, tmp_path, tools) as backend:
        events = await events_of(backend, request(prompt, tools=[PAY]))
        assert finished(events).reason == "tool_calls"
        assert of(ToolCallStart, events) == [ToolCallStart(0, "call_0_1", "pay")]
        assert args_in(events) == {0: '{"n": 1}'}
        assert (of(ActivityStart, events)[0].name, of(ActivityEnd, events)) == (
            "look",
            [ActivityEnd(0)],
        )
        # The next request, of a caller that knows its own call alone.
        call: Item = {
            "type": "tool_call",
            "id": "call_0_1",
            "name": "pay",
            "arguments": '{"n": 1}',
            "kind": "function",
        }
        paid: Item = {
            "type": "tool_result",
            "id": "call_0_1",
            "content": [{"type": "text", "text": "ok"}],
        }
        after = request(transcript=[said(prompt), call, paid], tools=[PAY])
        events = await events_of(backend, after)
    assert text_in(events) == "Paid."
    assert tools.called == [("look", {"at": "x"})]


async def test_a_name_that_both_have_is_refused(upstream: FakeUpstream, tmp_path: Path) -> None:
    clash: Tool = {"type": "function", "name": "look"}
    async with planner(upstream, tmp_path, bench()) as backend:
        end = failed(await events_of(backend, request("x", tools=[PAY, clash])))
    assert (end.code, end.param) == ("invalid_request", "tools")
    assert "'look'" in end.message
    assert not upstream.requests


async def test_the_callers_tools_are_offered_as_they_came(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    strict: Tool = {**PAY, "strict": True, "description": "Pays."}
    options: Any = {"parallel_tool_calls": False}
    async with planner(upstream, tmp_path, bench()) as backend:
        run = request(plan({"say": "k"}), tools=[strict, NOTE], options=options)
        await events_of(backend, run)
    body = upstream.requests[0].body
    assert [tool["type"] for tool in body["tools"]] == ["function", "function", "custom"]
    form = {"name": "pay", "parameters": strict["spec"], "strict": True, "description": "Pays."}
    assert body["tools"][1]["function"] == form
    assert body["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("mode", "chosen", "offered", "sent"),
    [
        ("none", [], ["look"], None),
        ("auto", [], ["look", "pay", "note"], "auto"),
        ("required", [], ["look", "pay", "note"], "required"),
        ("named", [PAY], ["look", "pay", "note"], "pay"),
        ("allowed", [PAY], ["look", "pay"], "auto"),
        ("allowed_required", [NOTE], ["look", "note"], "required"),
    ],
)
async def test_the_choice_is_about_the_callers_tools(
    upstream: FakeUpstream, tmp_path: Path, mode: Any, chosen: Any, offered: Any, sent: Any
) -> None:
    choice: Any = {"mode": mode, "tools": chosen}
    async with planner(upstream, tmp_path, bench()) as backend:
        run = request(plan({"say": "k"}), tools=[PAY, NOTE], tool_choice=choice)
        await events_of(backend, run)
    body = upstream.requests[0].body
    assert sorted(t[t["type"]]["name"] for t in body["tools"]) == sorted(offered)
    got = body.get("tool_choice")
    assert (got["function"]["name"] if isinstance(got, dict) else got) == sent


async def test_a_custom_tool_is_called_with_its_text(upstream: FakeUpstream) -> None:
    async with agent(spec(upstream, "tools")) as backend:
        events = await events_of(backend, request("x", tools=[NOTE]))
    assert of(ToolCallStart, events) == [ToolCallStart(0, "call_0", "note", "custom")]
    assert args_in(events) == {0: "some free text"}


async def test_all_calls_of_a_step_are_the_callers(upstream: FakeUpstream) -> None:
    async with agent(spec(upstream, "tools-parallel")) as backend:
        events = await events_of(backend, request("x", tools=[PAY, {**PAY, "name": "b"}]))
    assert [(e.index, e.name) for e in of(ToolCallStart, events)] == [(0, "pay"), (1, "b")]
    assert finished(events).reason == "tool_calls"


async def test_an_agent_without_tools_leaves_unknown_names_to_the_caller(
    upstream: FakeUpstream,
) -> None:
    async with agent(spec(upstream, "plan")) as backend:
        prompt = plan({"calls": [("what", {})]})
        events = await events_of(backend, request(prompt, tools=[PAY]))
    assert of(ToolCallStart, events) == [ToolCallStart(0, "call_0_0", "what")]
