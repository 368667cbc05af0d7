"""OpenAI's coding agent Codex, which runs its own tools for the agents of this server."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import API_KEY, KNOWN_TO_CODEX
from tests.fakes.system import System
from tests.fakes.upstream import words
from tests.fakes.upstream_plan import plan

HERE = Path(__file__).parent / "codex"
CONFIG = """
model_provider = "trunkline"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[model_providers.trunkline]
name = "Trunkline"
base_url = "{base_url}"
env_key = "TRUNKLINE_KEY"
wire_api = "responses"
supports_websockets = {websockets}
request_max_retries = 0
stream_max_retries = 0
"""
pytestmark = pytest.mark.node


class Codex:
    """The command line in a directory of its own; it reaches nothing but `base_url`."""

    def __init__(self, directory: Path, base_url: str, websockets: str = "false") -> None:
        self.work = directory / "work"
        self.work.mkdir()
        home = directory / "home"
        home.mkdir()
        (home / "config.toml").write_text(CONFIG.format(base_url=base_url, websockets=websockets))
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CODEX_HOME": str(home),
            "TRUNKLINE_KEY": API_KEY,
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1",
        }

    def run(self, model: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """The exit code of `codex exec`, and what it told."""
        binary = HERE / "node_modules/.bin/codex"
        assert binary.exists(), f"run `npm ci` in {HERE} first"
        options = ("--json", "--skip-git-repo-check", "--model", model)
        ran = subprocess.run(
            [binary, "exec", *options, *arguments],
            cwd=self.work,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        print(ran.stderr, ran.stdout)
        return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.fixture
def codex(system: System, tmp_path: Path) -> Codex:
    return Codex(tmp_path, system.base_url())


def items(told: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    done = [event["item"] for event in told if event["type"] == "item.completed"]
    return [item for item in done if item["type"] == kind]


def said(told: list[dict[str, Any]]) -> list[str]:
    return [item["text"] for item in items(told, "agent_message")]


@pytest.mark.parametrize("model", ["plan", KNOWN_TO_CODEX[0]])
def test_codex_runs_a_command_and_answers(codex: Codex, model: str) -> None:
    call = ("exec_command", {"cmd": "echo it-ran | tee made.txt"})
    code, told = codex.run(model, plan({"say": "I look.", "calls": [call]}, {"say": "Done."}))
    [command] = items(told, "command_execution")
    assert (command["exit_code"], command["aggregated_output"]) == (0, "it-ran\n")
    assert (codex.work / "made.txt").read_text() == "it-ran\n"
    assert (code, said(told)) == (0, ["I look.", "Done."])
    assert told[-1]["type"] == "turn.completed"
    assert told[-1]["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("websockets", ["false", "true"])
@pytest.mark.parametrize("model", KNOWN_TO_CODEX[1:])
def test_codex_works_with_tools_that_stand_in_the_input(
    system: System, tmp_path: Path, model: str, websockets: str
) -> None:
    codex = Codex(tmp_path, system.base_url(), websockets)
    run = "text((await tools.exec_command({cmd: 'echo it-ran | tee made.txt'})).output)"
    code, told = codex.run(model, plan({"say": "I look.", "calls": [("functions__exec", run)]}))
    assert (codex.work / "made.txt").read_text() == "it-ran\n"
    first, last = said(told)
    assert (code, first) == (0, "I look.") and "it-ran" in last
    asked = system.upstream.requests()
    assert len(asked) == 2
    for request in asked:
        offered = {tool[tool["type"]]["name"]: tool["type"] for tool in request["body"]["tools"]}
        assert offered["functions__exec"] == "custom"
        assert offered["functions__wait"] == offered["collaboration__spawn_agent"] == "function"


def test_codex_gets_the_output_of_a_command_to_its_model(codex: Codex) -> None:
    call = ("exec_command", {"cmd": "echo it-ran"})
    code, told = codex.run("plan", plan({"calls": [call]}))  # then it repeats what it was told
    [answer] = said(told)
    assert code == 0 and "exited with code 0" in answer and "it-ran" in answer


def test_codex_applies_a_patch_of_a_custom_tool(codex: Codex) -> None:
    patch = "*** Begin Patch\n*** Add File: new.txt\n+hello\n*** End Patch"
    steps = ({"say": "I patch.", "calls": [("apply_patch", patch)]}, {"say": "Done."})
    code, told = codex.run("gpt-5.5", plan(*steps))
    assert (codex.work / "new.txt").read_text() == "hello\n"
    assert (code, said(told)) == (0, ["I patch.", "Done."])


def test_codex_takes_a_session_up_again(codex: Codex) -> None:
    call = ("exec_command", {"cmd": "echo it-ran"})
    codex.run("plan", plan({"say": "I look.", "calls": [call]}, {"say": "Done."}))
    code, told = codex.run("plan", "resume", "--last", "And now?")
    assert (code, said(told)) == (0, ["And now?"])


def test_codex_is_not_confused_by_the_agents_own_tools(codex: Codex) -> None:
    steps = ({"say": "I plan.", "calls": [("read_tasks", {})]}, {"say": "Done."})
    code, told = codex.run("plan-tasks", plan(*steps))
    assert (code, said(told)) == (0, ["I plan.", "Done."])
    code, told = codex.run("plan-tasks", "resume", "--last", "And now?")
    assert (code, said(told)) == (0, ["And now?"])


def test_codex_takes_reasoning_and_sends_it_back(codex: Codex) -> None:
    for arguments in (["Hello"], ["resume", "--last", "And now?"]):
        code, told = codex.run("reasoning", *arguments)
        assert (code, said(told)) == (0, ["Done thinking"])
    assert told[-1]["usage"]["reasoning_output_tokens"] > 0


def test_codex_says_why_a_turn_failed(codex: Codex) -> None:
    code, told = codex.run("error-chunk", "Hello")
    assert code == 1 and said(told) == [words(2)]
    assert told[-1]["type"] == "turn.failed"
    assert "The model crashed" in told[-1]["error"]["message"]
    code, told = codex.run("nobody", "Hello")
    assert code == 1 and "'nobody' does not exist" in told[-1]["error"]["message"]
