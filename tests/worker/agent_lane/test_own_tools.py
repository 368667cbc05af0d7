"""An agent's toolsets over its runs, and where their tools work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import Bench, agent, bench, looked, planner
from tests.worker.backends.driving import events_of, request, spec, text_in
from trunkline_worker.toolsets.base import Invocation, ToolError

LOOK = plan({"calls": [("look", {"at": "x"})]}, {"say": "I saw it."})


async def test_a_workspace_is_made_for_the_tools_and_goes_with_the_run(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    seen: list[Path] = []

    async def work(_: Mapping[str, Any], call: Invocation) -> str:
        assert call.workspace.path.is_dir()
        seen.append(call.workspace.path)
        return "ok"

    root = tmp_path / "spaces"
    prompt = plan({"calls": [("work", {}), ("work", {})]}, {"calls": [("work", {})]})
    async with planner(upstream, root, bench(work=work)) as backend:
        await events_of(backend, request(plan({"say": "no tool"})))
        assert not root.exists()
        await events_of(backend, request(prompt))
    assert len(seen) == 3 and len(set(seen)) == 1
    assert not seen[0].exists()


async def test_tools_of_one_name_are_told_apart_by_their_toolsets(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    one, two = bench(), Bench({"look": looked}, name="two words")
    prompt = plan({"calls": [("two_words_look", {"at": "x"})]}, {"say": "k"})
    async with planner(upstream, tmp_path, one, two) as backend:
        await events_of(backend, request(prompt))
    assert (one.called, two.called) == ([], [("look", {"at": "x"})])


async def test_a_toolset_that_cannot_say_what_it_has_is_left_out(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    class Away(Bench):
        async def tools(self) -> Any:
            raise ToolError("it is away")

    async with planner(upstream, tmp_path, Away({}), bench()) as backend:
        assert text_in(await events_of(backend, request(LOOK))) == "I saw it."
    offered = upstream.requests[0].body["tools"]
    assert [tool["function"]["name"] for tool in offered] == ["look"]


async def test_toolsets_are_open_as_long_as_the_backend_is(upstream: FakeUpstream) -> None:
    class Broken(Bench):
        async def open(self) -> None:
            raise ValueError("no server")

    tools = bench()
    async with agent(spec(upstream, "plan"), toolsets=[tools]) as backend:
        await backend.open()
        assert tools.is_open
        await backend.aclose()
        assert not tools.is_open
    async with agent(spec(upstream, "plan"), toolsets=[tools, Broken({})]) as backend:
        with pytest.raises(ValueError, match="no server"):
            await backend.open()
        assert not tools.is_open
