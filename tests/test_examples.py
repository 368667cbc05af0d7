"""The examples run as they stand, through a whole server, on fake providers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml

from tests.fakes.system import System
from tests.fakes.upstream_process import AnthropicProcess
from trunkline_shared.config.load import load_config

pytestmark = pytest.mark.redis

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Case:
    """What `agent` of the file is asked to call, each a tool and its arguments, and answers."""

    file: str
    agent: str
    answer: str
    calls: list[list[Any]] = field(default_factory=list)
    finish: str = "stop"


CASES = [
    Case("agents.yml", "assistant", "Please do."),
    Case("models.yml", "chat", "w0 w1 w2"),
    Case("models.yml", "mine", "w0 w1 w2"),
]


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("example")
    config = yaml.safe_load((EXAMPLES / request.param).read_text("utf-8"))
    anthropic = AnthropicProcess(directory / "anthropic.log", {})
    try:
        with System(directory, config, apis=0, workers=0) as system:
            system.start_worker(
                MODEL="anthropic:scripted",
                ANTHROPIC_BASE_URL=anthropic.base_url,
                ANTHROPIC_API_KEY="k",
                OPENAI_BASE_URL=system.upstream.base_url,
                OPENAI_API_KEY="k",
                MY_BASE_URL=system.upstream.base_url,
                TRUNKLINE_WORKSPACES=str(directory / "workspaces"),
            )
            system.start_api()
            system.wait_ready()
            yield system
    finally:
        anthropic.stop()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yml")), ids=lambda path: path.name)
def test_every_example_loads_with_no_key_that_has_no_effect(path: Path) -> None:
    config = load_config(path, {})
    assert config.ignored == ()
    assert [agent.lacks for agent in config.agents.values() if agent.lacks] == []


@pytest.mark.parametrize(
    ("system", "case"),
    [pytest.param(case.file, case, id=f"{case.file}-{case.agent}") for case in CASES],
    indirect=["system"],
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
