"""The examples run as they stand, through a whole server, on fake providers."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.fakes.system import System
from tests.fakes.upstream_process import AnthropicProcess, ResponsesProcess
from trunkline_shared.config.installed import installed
from trunkline_shared.config.load import load_config

pytestmark = pytest.mark.redis

FILES = sorted((Path(__file__).parents[1] / "examples").glob("*.yml"))


@dataclass(frozen=True)
class Case:
    """What `agent` is asked to call, each a tool and its arguments, and answers."""

    agent: str
    answer: str
    calls: list[list[Any]] = field(default_factory=list)
    finish: str = "stop"


CASES = [
    Case("assistant", "Please do."),
    Case("chat", "w0 w1 w2"),
    Case("claude", "w0 w1 w2"),
    Case("either", "w0 w1 w2"),
    Case("responses", "w0 w1 w2"),
    Case("mine", "w0 w1 w2"),
    Case(
        "coder",
        "from a file",
        [
            ["write_tasks", {"tasks": [{"title": "Try it", "status": "in_progress"}]}],
            ["write_file", {"path": "notes/a.txt", "content": "from a file"}],
            ["run_command", {"command": "cat notes/a.txt"}],
        ],
    ),
    Case("openhands_mine", "Linux", [["run_command", {"command": "uname"}]]),
    Case("reader", "empty", [["list_directory", {}]]),
    Case("clerk", "7", [["in_stock", {"article": "lamp"}]]),
    Case("shop", "19.5", [["price_of", {"article": "lamp"}]]),
    Case("shop", "39.00 euros", [["order", {"article": "lamp", "count": 2}]]),
    Case("editor", "said: The tool said", [["ask_researcher", {"task": "Find it."}]]),
    Case("countdown", "3 2 1 go"),
    Case("graph", "PLEASE DO."),
    Case("careful", "", [["read_tasks", {}], ["read_tasks", {}]], finish="length"),
]


ENGINEER = pytest.param(
    Case("engineer", "from a shell", [["Bash", {"command": "echo from a shell"}]]),
    marks=pytest.mark.skipif(not installed("claude_agent_sdk"), reason="an extra"),
    id="engineer",
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """All files at once: to start a worker for each would cost minutes."""
    directory = tmp_path_factory.mktemp("examples")
    config = {"INHERIT": [str(path) for path in FILES]}
    with ExitStack() as resources:
        anthropic = AnthropicProcess(directory / "anthropic.log", {})
        resources.callback(anthropic.stop)
        responses = ResponsesProcess(directory / "responses.log", {})
        resources.callback(responses.stop)
        with System(directory, config, apis=0, workers=0) as system:
            system.start_worker(
                MODEL="anthropic:scripted",
                MCP_PYTHON=sys.executable,
                CLAUDE_MODEL="anthropic:scripted",
                ANTHROPIC_BASE_URL=anthropic.base_url,
                ANTHROPIC_API_KEY="k",
                OPENAI_BASE_URL=system.upstream.base_url,
                OPENAI_API_KEY="k",
                AZURE_URL=responses.base_url,
                MY_BASE_URL=system.upstream.base_url,
                TRUNKLINE_WORKSPACES=str(directory / "workspaces"),
            )
            system.start_api()
            system.wait_ready()
            llm = {"model": "anthropic/scripted", "base_url": anthropic.base_url}
            profile = httpx.post(f"{system.url()}/api/profiles/mine", json={"llm": llm})
            assert profile.is_success, profile.text
            yield system


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_loads_with_no_key_that_has_no_effect(path: Path) -> None:
    config = load_config(path, {})
    assert config.ignored == ()
    assert [agent.lacks for agent in config.agents.values() if agent.lacks] == []


def test_agents_of_different_examples_have_different_names() -> None:
    names = [name for path in FILES for name in load_config(path, {}).agents]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "case", [*(pytest.param(case, id=f"{case.agent}: {case.answer}") for case in CASES), ENGINEER]
)
def test_every_agent_of_an_example_answers(system: System, case: Case) -> None:
    prompt = f"Please do. {json.dumps(case.calls)}" if case.calls else "Please do."
    with openai.OpenAI(base_url=system.base_url(), api_key="any", max_retries=0) as client:
        completion = client.chat.completions.create(
            model=case.agent, messages=[{"role": "user", "content": prompt}]
        )
    (choice,) = completion.choices
    assert case.answer in (choice.message.content or "")
    assert choice.finish_reason == case.finish
