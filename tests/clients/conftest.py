"""One system for all client tests: an API process, a worker and the fake upstream."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.system import System, upstream_agent

API_KEY = "client-secret"
SESSION_KEY = "session-secret"
PROVIDER_KEY = "sk-provider-secret"
UPSTREAM_MODELS = (
    *(
        "words-1",
        "words-3",
        "words-500",
        "slow-20x50",
        "slow-1000x20",
        "slow-1001x20",
        "slow-1002x20",
        "slow-1003x20",
        "slow-1004x20",
        "split-20",
        "eager",
    ),
    *("reasoning", "refusal", "tools", "tools-parallel", "tools-odd", "json", "echo-request"),
    *("able", "plan"),
    *("length", "filter", "no-usage", "joint-usage", "whole", "html", "garbage"),
    *("context-length", "context-3"),
    *("status-400", "status-401", "status-403", "status-404", "status-429", "status-500"),
    *("flaky-1", "busy-2", "cut-3", "cut-0", "silence-3", "silence-0"),
    *("hang", "unfinished-3", "no-done-3", "error-chunk", "error-first"),
)

KNOWN_TO_CODEX = ["gpt-5.5", "gpt-5.6-sol", "gpt-6.1-sol"]
"""Models that Codex has a catalogue of tools for: what it sends for these is not what it sends for
those that it does not know. From the second on it sends them as an item of the input."""

ABLE = ["able", "able-tasks"]
"""An agent of each lane: what is asked of them is the same."""


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    agents: dict[str, Any] = {model: upstream_agent(model) for model in UPSTREAM_MODELS}
    agents["team/writer:v1"] = upstream_agent("words-3", description="An id with / and :")
    agents["prompted"] = upstream_agent("echo-request", system_prompt="Be brief.")
    agents["able-tasks"] = upstream_agent("able", toolsets=[{"type": "tasks"}])
    agents |= {name: upstream_agent("plan") for name in KNOWN_TO_CODEX}
    agents["plan-tasks"] = upstream_agent("plan", toolsets=[{"type": "tasks"}])
    agents["both-tools"] = upstream_agent("tools-parallel", toolsets=[{"type": "tasks"}])
    agents["repeater"] = {"model": "echo", "echo": {"words_per_second": 0}}
    settings = {
        "secret_key": "a secret key of thirty-two bytes",
        "silence_timeout_s": 3,
        "headers_after_s": 2,  # longer than the worker's one retry, shorter than a silence
        "upstream_retries": 1,
        "heartbeat_s": 0.2,
    }
    directory = tmp_path_factory.mktemp("clients")
    with System(directory, {"agents": agents}, settings=settings, api_keys=(API_KEY,)) as system:
        yield system
        broken = [p.log.name for p in (*system.apis, *system.workers) if "Traceback" in p.logged()]
        assert not broken, f"a traceback in {broken}"


@pytest.fixture(scope="session")
def session_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """For what those who come from AgentPool and OpenHands call: a session key and profiles.

    The second API process is for browsers.
    """
    agents: dict[str, Any] = {
        "assistant": upstream_agent("words-500"),
        "coder": upstream_agent("echo-request"),
        "gpt-4-custom": upstream_agent(
            "echo-request", system_prompt="You are a helpful assistant."
        ),
        "my-agent": upstream_agent("words-3"),
    }
    settings = {
        "session_api_key": SESSION_KEY,
        "secret_key": "a secret key of thirty-two bytes",
        "upstream_retries": 0,
    }
    directory = tmp_path_factory.mktemp("session")
    with System(directory, {"agents": agents}, settings=settings) as system:
        system.start_api("--cors")
        system.wait_ready()
        yield system
        logged = "".join(p.logged() for p in (*system.apis, *system.workers))
        assert "Traceback" not in logged
        assert PROVIDER_KEY not in logged and SESSION_KEY not in logged


@pytest.fixture(autouse=True)
def telling_logs(system: System, request: pytest.FixtureRequest) -> Iterator[None]:
    system.upstream.reset()
    with system.telling(request):
        yield


@pytest.fixture(scope="session")
def client(system: System) -> Iterator[openai.OpenAI]:
    """Refuses replies that deviate from OpenAI's types; never retries."""
    with openai.OpenAI(
        base_url=system.base_url(),
        api_key=API_KEY,
        max_retries=0,
        timeout=60,
        _strict_response_validation=True,
    ) as client:
        yield client
