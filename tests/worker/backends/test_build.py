from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.backends.driving import events_of, request, text_in
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.profile import PROFILE_AGENT
from trunkline_worker.backends.base import Unavailable
from trunkline_worker.backends.build import Backends
from trunkline_worker.settings import WorkerSettings


def config(*agents: AgentConfig) -> Config:
    return Config(path="agents.yml", agents={agent.name: agent for agent in agents})


async def test_agents_that_lack_something_do_not_stop_the_others(upstream: FakeUpstream) -> None:
    backends = Backends(
        config(
            AgentConfig(name="echo", type="echo", model=("echo",)),
            AgentConfig(name="keyless", model=("openai:gpt-4o",)),
            AgentConfig(name="coder", type="claude_code"),
            AgentConfig(name="tooled", model=("ollama:x",), toolsets=({"type": "mcp"},)),
            AgentConfig(name="chat", model=("openai:words-3",), base_url="${WHERE}"),
        ),
        WorkerSettings(),
        {"WHERE": upstream.base_url},
    )
    assert backends.runnable == ("echo", "chat", PROFILE_AGENT)
    await backends.open()
    try:
        run = request(agent="chat")
        assert text_in(await events_of(backends.get(run), run)) == words(3)
        for missing in ("keyless", "coder", "tooled", "nobody", PROFILE_AGENT):
            with pytest.raises(Unavailable):
                backends.get(request(agent=missing))
    finally:
        await backends.aclose()


async def test_an_agent_whose_headers_cannot_be_sent_does_not_stop_the_others() -> None:
    def agent(name: str, **fields: Any) -> AgentConfig:
        return AgentConfig(name=name, model=("vllm:x",), **{"base_url": "http://h/v1", **fields})

    broken = {"extra_headers": {"x-team": "a\r\nb: c"}}
    no_port = "http://me:secret@h:x/v1"
    backends = Backends(
        config(agent("fine"), agent("split", settings=broken), agent("lost", base_url=no_port)),
        WorkerSettings(),
        {},
    )
    await backends.open()
    try:
        await backends.add(agent("late", settings=broken))
        assert backends.runnable == ("fine", PROFILE_AGENT)
        why = ("the header x-team has a line break in its value",)
        no_url = ("a URL begins with http:// or https:// and names a host",)
        assert backends.lacking == {"split": why, "lost": no_url, "late": why}
        with pytest.raises(Unavailable):
            backends.get(request(agent="split"))
    finally:
        await backends.aclose()


def test_an_agent_larger_than_the_worker_cannot_run_here() -> None:
    agents = [AgentConfig(name=f"of-{slots}", type="echo", slots=slots) for slots in (8, 9)]
    backends = Backends(config(*agents), WorkerSettings(slots=8), {})
    assert backends.runnable == ("of-8", PROFILE_AGENT)
    assert backends.lacking == {"of-9": ("it takes 9 slots, and this worker has 8",)}


async def test_all_agents_share_one_session(upstream: FakeUpstream) -> None:
    agents = [
        AgentConfig(name=name, model=("vllm:words-1",), base_url=upstream.base_url) for name in "ab"
    ]
    backends = Backends(config(*agents), WorkerSettings(), {})
    await backends.open()
    for name in "abab":
        run = request(agent=name)
        await events_of(backends.get(run), run)
    await backends.aclose()
    assert upstream.connections == 1


async def test_closing_what_was_never_opened_is_fine() -> None:
    await Backends(config(), WorkerSettings(), {}).aclose()
