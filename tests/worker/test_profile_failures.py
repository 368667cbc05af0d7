"""Profiles that cannot be run say why, and show neither key nor address."""

import socket
from typing import Any

import pytest

from tests.worker.backends.driving import events_of, failed
from tests.worker.fake_run import claimed, code_of, execution
from tests.worker.test_profile_runs import run_of, sealed, worker
from trunkline_shared.config.models import AgentConfig, Config, Profiles
from trunkline_shared.events import Failed
from trunkline_shared.profile import PROFILE_AGENT
from trunkline_shared.run import encode_job
from trunkline_worker.backends.base import Unavailable
from trunkline_worker.backends.build import Backends
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.resolver import Address, LinkLocal, LookUp, Resolver, guarded
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices
from trunkline_worker.settings import WorkerSettings


@pytest.mark.parametrize(
    ("llm", "words"),
    [
        ({"model": "gpt-4o"}, "OPENAI_API_KEY is not set"),
        ({"model": "opnai/gpt-4o", "api_key": "sk-1"}, "did you mean 'openai'?"),
        ({"model": "hosted_vllm/x"}, "VLLM_BASE_URL is not set"),
        ({"model": "x", "base_url": "http://169.254.169.254/v1"}, "link-local"),
        ({"model": "x", "base_url": "http://0xa9fea9fe/v1"}, "link-local"),
        ({"model": "ollama/x", "ollama_base_url": "http://[fe80::1]/"}, "link-local"),
    ],
)
async def test_a_profile_that_cannot_be_called_says_what_it_lacks(
    llm: dict[str, Any], words: str
) -> None:
    async with worker() as backends:
        with pytest.raises(Unavailable) as refusal:
            backends.get(run_of(sealed(**llm)))
    assert words in str(refusal.value)
    assert "sk-1" not in str(refusal.value)
    assert "169" not in str(refusal.value)


@pytest.mark.parametrize("secret_key", ["another", None])
async def test_a_worker_with_another_secret_key_names_the_variable(secret_key: str | None) -> None:
    async with worker(secret_key=secret_key) as backends:
        run = run_of(sealed(model="x", api_key="sk-1"))
        claim = claimed(job=encode_job(run))
        execute, writer = execution(claim)
        await execute.run(backends)
    assert code_of(writer) == "agent_unavailable"
    (failure,) = writer.events
    assert isinstance(failure, Failed)
    assert "TRUNKLINE_SECRET_KEY" in failure.message


async def test_what_was_sealed_with_a_previous_key_still_runs() -> None:
    async with worker(secret_key="new", previous_secret_keys=("old",)) as backends:
        assert backends.get(run_of(sealed("old", model="x", api_key="sk-1")))


def names(**hosts: list[str]) -> LookUp:
    """A name server that says for each name what the test wants."""

    async def look_up(host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, (each, port)) for each in hosts[host]]

    return look_up


async def test_names_lose_the_addresses_that_are_not_allowed() -> None:
    look_up = guarded(names(both=["169.254.1.1", "10.0.0.1"], bad=["169.254.1.1"], none=[]))
    assert await look_up("both", 80) == [(socket.AF_INET, ("10.0.0.1", 80))]
    assert await look_up("none", 80) == []
    with pytest.raises(LinkLocal):
        await look_up("bad", 80)


async def test_a_name_that_leads_there_fails_clearly_and_without_the_address() -> None:
    client = HttpClient(Resolver(guarded(names(bad=["169.254.169.254"]))))
    model = ModelSpec(provider="vllm", name="x", base_url="http://bad/v1")
    agent = AgentConfig(name="test", model=("vllm:x",), base_url="http://bad/v1")
    backend = ChatBackend(agent, [model], client, Prices())
    failure = failed(await events_of(backend, run_of("")))
    assert failure.code == "agent_unavailable"
    assert "link-local" in failure.message
    assert "169" not in failure.message


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_operator_may_allow_them(allowed: bool) -> None:
    async with worker(allow_link_local=allowed) as backends:
        run = run_of(sealed(model="x", base_url="http://169.254.1.1/v1"))
        if allowed:
            assert backends.get(run)
        else:
            with pytest.raises(Unavailable):
                backends.get(run)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"type": "echo"}, "agents of type chat, not echo"),
        ({"model": "ollama:x", "toolsets": [{"type": "mcp"}]}, "toolsets.0: an mcp"),
        ({"model": "ollama:x", "slots": 9}, "it takes 9 slots"),
    ],
)
def test_an_agent_that_cannot_run_profiles_says_why(agent: dict[str, Any], words: str) -> None:
    named = AgentConfig.model_validate({"name": "base", **agent})
    config = Config(path="a.yml", agents={"base": named}, profiles=Profiles(agent="base"))
    backends = Backends(config, WorkerSettings(slots=8), {})
    assert PROFILE_AGENT not in backends.runnable
    assert any(words in lack for lack in backends.lacking[PROFILE_AGENT])


def test_only_workers_of_its_pool_run_profiles() -> None:
    config = Config(path="a.yml", agents={})
    assert Backends(config, WorkerSettings(pool=("coding",)), {}).runnable == ()
    assert Backends(config, WorkerSettings(), {}).runnable == (PROFILE_AGENT,)
