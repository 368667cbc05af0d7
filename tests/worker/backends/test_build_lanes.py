"""Which lane an agent takes, and what its toolsets need of this worker."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream
from tests.fakes.upstream_plan import plan
from tests.worker.backends.driving import events_of, request, text_in
from trunkline_shared.config.models import AgentConfig, Config, Profiles
from trunkline_shared.events import ActivityStart
from trunkline_shared.llm import Llm
from trunkline_shared.profile import PROFILE_AGENT, seal_llm
from trunkline_shared.vault import Vault
from trunkline_worker.backends.build import Backends
from trunkline_worker.settings import WorkerSettings

KEY = "a secret of some length"


def agent(upstream: FakeUpstream, name: str = "coder", **fields: Any) -> AgentConfig:
    values = {"model": ("vllm:plan",), "base_url": upstream.base_url, **fields}
    return AgentConfig(name=name, **values)


def backends(root: Path, *agents: AgentConfig, **profiles: Any) -> Backends:
    config = Config(
        path="agents.yml",
        agents={agent.name: agent for agent in agents},
        profiles=Profiles(**profiles),
    )
    settings = WorkerSettings(secret_key=KEY, workspaces=str(root))
    return Backends(config, settings, {"WHICH": "file_access"})


async def test_an_agent_with_toolsets_uses_them(upstream: FakeUpstream, tmp_path: Path) -> None:
    tools = ({"type": "file_access"}, {"type": "tasks"})
    made = backends(tmp_path, agent(upstream, toolsets=tools))
    await made.open()
    prompt = plan(
        {"calls": [("write_file", {"path": "a.txt", "content": "hello"})]},
        {"calls": [("read_file", {"path": "a.txt"})]},
    )
    try:
        run = request(prompt, agent="coder")
        events = await events_of(made.get(run), run)
    finally:
        await made.aclose()
    assert "hello" in text_in(events)
    begun = [event for event in events if isinstance(event, ActivityStart)]
    assert [(each.name, each.toolset) for each in begun] == [
        ("write_file", "file_access"),
        ("read_file", "file_access"),
    ]


async def test_a_toolset_that_cannot_work_here_stops_no_other_agent(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    lost = {"type": "import", "import_path": "no_such_module:function"}
    made = backends(tmp_path, agent(upstream, "lost", toolsets=(lost,)), agent(upstream))
    await made.open()
    try:
        assert made.runnable == ("coder", PROFILE_AGENT)
        assert "no_such_module" in made.lacking["lost"][0]
    finally:
        await made.aclose()


async def test_profiles_may_be_run_by_an_agent_with_tools(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    runner = agent(upstream, toolsets=({"type": "file_access"},))
    made = backends(tmp_path, runner, agent="coder")
    await made.open()
    llm = Llm(model="openai/plan", base_url=upstream.base_url, api_key="k")
    prompt = plan({"calls": [("write_file", {"path": "a", "content": "b"})]}, {"say": "Written."})
    run = request(prompt, agent=PROFILE_AGENT, profile=seal_llm(llm, Vault(KEY, ())))
    try:
        assert text_in(await events_of(made.get(run), run)) == "Written."
    finally:
        await made.aclose()


@pytest.mark.parametrize(
    ("fields", "imported"),
    [
        ({}, False),
        ({"structured_output": "tool"}, True),
        ({"model": ("anthropic:x",), "base_url": None, "api_key": "k"}, True),
        ({"api": "responses", "model": ("openai:x",), "api_key": "k"}, True),
    ],
)
def test_only_who_needs_it_waits_for_the_framework(fields: dict[str, Any], imported: bool) -> None:
    values = {"name": "a", "model": ("vllm:x",), "base_url": "http://127.0.0.1:9/v1", **fields}
    program = (
        "import asyncio, sys\n"
        "from trunkline_shared.config.models import AgentConfig, Config\n"
        "from trunkline_worker.backends.build import Backends\n"
        "from trunkline_worker.settings import WorkerSettings\n"
        "async def main():\n"
        f"    agent = AgentConfig(**{values!r})\n"
        "    made = Backends(Config(path='x', agents={'a': agent}), WorkerSettings(), {})\n"
        "    await made.open()\n"
        "    assert 'a' in made.runnable, made.lacking\n"
        "    await made.aclose()\n"
        "asyncio.run(main())\n"
        "print('pydantic_ai' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ran.stdout.decode().strip() == str(imported)
