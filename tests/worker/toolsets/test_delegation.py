"""Agents that ask other agents."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.worker.backends import driving
from tests.worker.backends.driving import no_gate, request
from tests.worker.fake_run import ScriptedBackend
from tests.worker.toolsets.mcp_bed import invocation
from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.config.toolsets import Agents
from trunkline_shared.events import (
    ActivityEnd,
    ActivityStart,
    Failed,
    Finished,
    ReasoningDelta,
    Step,
    TextDelta,
    Usage,
)
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Asker, Backend, Budget, RunContext, Unavailable
from trunkline_worker.backends.echo import EchoBackend
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.base import ToolError
from trunkline_worker.toolsets.delegation import Delegation


def agent(name: str, **fields: Any) -> AgentConfig:
    return AgentConfig(name=name, **{"type": "echo"} | fields)


FILE = {
    each.name: each
    for each in (
        agent("boss"),
        agent("helper", description="Knows numbers."),
        agent("coder", toolsets=[{"type": "execution"}]),
        agent("away"),
    )
}


class Worker:
    """Runs some of the file's agents, and knows what they were asked."""

    def __init__(self, **backends: Backend) -> None:
        self.backends = backends
        self.timeouts_s = dict.fromkeys(backends, 10.0)
        self.requests: list[RunRequest] = []

    def get(self, request: RunRequest) -> Backend:
        self.requests.append(request)
        if request.agent not in self.backends:
            raise Unavailable("This worker cannot run the agent.")
        return self.backends[request.agent]

    def timeout_s(self, agent: str) -> float:
        return self.timeouts_s[agent]


class Recalling(ScriptedBackend):
    """Keeps the context of its runs."""

    context: RunContext

    async def run(self, request: RunRequest, context: RunContext) -> Any:
        self.context = context
        return await super().run(request, context)


def delegation(worker: Worker, own: str = "boss", **fields: Any) -> Delegation:
    return Delegation(Agents(**fields), own, FILE, worker)


async def asked(worker: Worker, name: str = "helper", **fields: Any) -> str:
    return await delegation(worker).call(f"ask_{name}", {"task": "do it"}, invocation(**fields))


async def test_each_other_agent_that_runs_here_is_a_tool() -> None:
    worker = Worker(boss=ScriptedBackend(), helper=ScriptedBackend(), coder=ScriptedBackend())
    tools = await delegation(worker).tools()
    assert [(tool.name, tool.effect) for tool in tools] == [
        ("ask_helper", "pure"),
        ("ask_coder", "at_most_once"),
    ]
    assert "Knows numbers." in tools[0].description
    assert list(tools[0].parameters["properties"]) == ["task"]


async def test_agents_that_the_file_names_are_there_even_if_they_cannot_run_now() -> None:
    toolset = delegation(Worker(), agents=("away",), effect="idempotent")
    (tool,) = await toolset.tools()
    assert (tool.name, tool.effect) == ("ask_away", "idempotent")
    with pytest.raises(ToolError, match="The agent away cannot run now"):
        await toolset.call("ask_away", {"task": "anything"}, invocation())


async def test_an_agent_answers_a_task_and_shows_what_it_says() -> None:
    pieces: list[str] = []
    worker = Worker(helper=EchoBackend(FILE["helper"]))
    call = invocation(say=pieces.append, request=request("not shown", principal="p1"))
    toolset = delegation(worker)
    assert await toolset.call("ask_helper", {"task": "two words"}, call) == "two words"
    assert "".join(pieces) == "two words"
    (asked,) = worker.requests
    assert (asked.agent, asked.principal, asked.conversation) == ("helper", "p1", "")
    assert asked.tools == [] and len(asked.transcript) == 1


async def test_the_answer_is_what_is_said_after_the_last_tool_call() -> None:
    helper = ScriptedBackend(
        [TextDelta("Let me look. "), Step()],
        [ActivityStart(0, "c", "read", "files"), ActivityEnd(0)],
        [ReasoningDelta("hm"), TextDelta("It is ")],
        [TextDelta("42."), Finished("stop", Usage(1, 2))],
    )
    assert await asked(Worker(helper=helper)) == "It is 42."


async def test_what_it_costs_is_told_whether_or_not_it_succeeds() -> None:
    spent: list[Usage] = []
    good = ScriptedBackend([TextDelta("yes"), Finished("stop", Usage(10, 5, cost=0.25))])
    bad = ScriptedBackend([Failed("upstream_error", "The upstream failed.", usage=Usage(3, 1))])
    worker = Worker(helper=good, coder=bad)
    await asked(worker, spent=spent.append)
    with pytest.raises(ToolError, match="The agent coder failed: The upstream failed"):
        await asked(worker, "coder", spent=spent.append)
    assert spent == [Usage(10, 5, cost=0.25), Usage(3, 1)]


async def test_an_answer_that_was_cut_short_says_so() -> None:
    cut = Finished("length", Usage(), detail="limits.max_tokens reached")
    text = await asked(Worker(helper=ScriptedBackend([TextDelta("It is"), cut])))
    assert text == "It is\n[cut short: limits.max_tokens reached]"


async def test_an_asked_agent_knows_for_whom_it_works() -> None:
    helper = Recalling([Finished("stop", Usage())])
    place = Workspace(Path("/srv/shared"))
    await asked(Worker(helper=helper), workspace=place, left=lambda: Budget(0.5, 100))
    assert helper.context.asker == Asker(("boss",), place, Budget(0.5, 100), 1)


async def test_delegation_ends_at_its_depth_over_the_whole_chain() -> None:
    deep = RunContext(no_gate, lambda _: None, asker=Asker(("boss",), Workspace(Path("/w"))))
    worker = Worker(coder=ScriptedBackend())
    toolset = delegation(worker, own="helper", max_depth=8)
    with pytest.raises(ToolError, match="No further agent may be asked"):
        await toolset.call("ask_coder", {"task": "go on"}, invocation(context=deep))
    assert worker.requests == []


async def test_no_agent_is_asked_that_waits_for_the_answer() -> None:
    asker = Asker(("boss",), Workspace(Path("/w")), depth_left=5)
    toolset = delegation(Worker(boss=ScriptedBackend()), own="helper")
    call = invocation(context=RunContext(no_gate, lambda _: None, asker=asker))
    with pytest.raises(ToolError, match="The agent boss waits for this answer"):
        await toolset.call("ask_boss", {"task": "and you?"}, call)


async def test_cancelling_reaches_the_asked_agent() -> None:
    helper = ScriptedBackend([TextDelta("begun")], asyncio.Event())
    begun = asyncio.Event()
    call = asyncio.create_task(asked(Worker(helper=helper), say=lambda _: begun.set()), name="call")
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert helper.closed.is_set()


async def test_what_an_agent_said_and_used_in_its_time_counts() -> None:
    backend = ScriptedBackend([TextDelta("half")], asyncio.Event())
    backend.used = [Usage(3, 1)]
    worker, spent = Worker(helper=backend), []
    worker.timeouts_s["helper"] = 0.05
    call = replace(invocation(), spent=spent.append)
    answer = await delegation(worker).call("ask_helper", {"task": "count"}, call)
    assert answer == "half\n[cut short: limits.timeout_s reached]"
    assert spent[0] == Usage(3, 1)


async def test_an_agent_that_takes_longer_than_its_limit_is_ended() -> None:
    helper = ScriptedBackend(asyncio.Event())
    worker = Worker(helper=helper)
    worker.timeouts_s["helper"] = 0.05
    with pytest.raises(ToolError, match=r"took longer than 0\.05 s"):
        await asked(worker)
    assert helper.closed.is_set()


@pytest.mark.parametrize("task", [None, 3, "  "])
async def test_a_task_is_a_text(task: Any) -> None:
    with pytest.raises(ToolError, match="task: say as a text"):
        await delegation(Worker(helper=ScriptedBackend())).call(
            "ask_helper", {"task": task}, invocation()
        )


@pytest.mark.parametrize(
    ("names", "complaint"), [(("nobody",), "no agent nobody"), (("boss",), "cannot ask itself")]
)
async def test_a_file_that_names_who_cannot_be_asked_is_refused(
    names: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        await delegation(Worker(), agents=names).open()


@pytest.mark.parametrize(
    ("budget", "limits", "detail"),
    [
        (Budget(tokens=20), Limits(), "limits.max_total_tokens reached"),
        (Budget(tokens=20), Limits(max_total_tokens=30), "limits.max_total_tokens reached"),
        (Budget(tokens=900), Limits(max_total_tokens=20), "limits.max_total_tokens reached"),
        (Budget(), Limits(max_tokens=5), "limits.max_tokens reached"),
    ],
)
async def test_the_callers_budget_bounds_the_direct_lane(
    budget: Budget, limits: Limits, detail: str
) -> None:
    asker = Asker(("boss",), Workspace(Path("/w")), budget)
    async with (
        FakeUpstream() as upstream,
        driving.chat(driving.spec(upstream, "words-40"), limits=limits) as backend,
    ):
        context = RunContext(no_gate, lambda _: None, asker=asker)
        end = (await backend.run(request("hi"), context))[-1]
    assert isinstance(end, Finished)
    assert (end.reason, end.detail) == ("length", detail)


async def test_a_spent_budget_asks_no_model() -> None:
    asker = Asker(("boss",), Workspace(Path("/w")), Budget(tokens=1))
    events: list[Any] = []
    async with (
        FakeUpstream() as upstream,
        driving.chat(driving.spec(upstream, "words-40")) as backend,
    ):
        context = RunContext(no_gate, events.extend, asker=asker)
        end = (await backend.run(request("hi there, all of you"), context))[-1]
    assert end == Failed(
        "invalid_request", "This request alone takes more than limits.max_total_tokens allows."
    )
