from pathlib import Path
from typing import Any

import pytest

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.readiness import Readiness, readiness


def state(environ: dict[str, str] | None = None, **values: Any) -> Readiness:
    return readiness(AgentConfig.model_validate({"name": "a", **values}), environ or {})


def test_an_echo_agent_and_a_local_model_need_nothing() -> None:
    assert state(model="echo") == Readiness(True)
    assert state(model="ollama:llama3") == Readiness(True)


def test_a_missing_key_names_the_variable() -> None:
    assert state(model="groq:llama") == Readiness(False, ("GROQ_API_KEY is not set",))
    assert state({"GROQ_API_KEY": " "}, model="groq:llama").runnable is False
    assert state({"GROQ_API_KEY": "k"}, model="groq:llama") == Readiness(True)


def test_a_server_of_the_operators_own_needs_no_key() -> None:
    assert state(model="openai:x", base_url="http://127.0.0.1:9").runnable
    assert state({"OPENAI_BASE_URL": "http://127.0.0.1:9"}, model="openai:x").runnable


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        ("anthropic:claude", "ANTHROPIC_API_KEY is not set"),
        ("cohere:command", 'provider cohere needs: pip install "trunkline[cohere]"'),
        ("copilot:gpt", "provider github-copilot cannot run in this version"),
        ("vllm:x", "VLLM_BASE_URL is not set"),
        ("azure:x", "provider azure needs a base_url"),
        ("${MODEL}", "MODEL is not set"),
    ],
)
def test_what_a_model_lacks_is_said(model: str, missing: str) -> None:
    assert state(model=model) == Readiness(False, (missing,))


def test_a_chain_runs_if_one_of_its_models_does_and_says_what_the_others_lack() -> None:
    assert state(model="openai:x, ollama:y") == Readiness(True, ("OPENAI_API_KEY is not set",))
    assert state(model="openai:x, openai:y, groq:z").missing == (
        "OPENAI_API_KEY is not set",
        "GROQ_API_KEY is not set",
    )


def test_a_setting_that_no_model_there_takes_keeps_the_agent_from_running() -> None:
    keys = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
    lack = "settings.seed: models of anthropic do not take it"
    assert state(keys, model="anthropic:x", settings={"seed": 1}) == Readiness(False, (lack,))
    assert not state(keys, model="openai:x, anthropic:y", settings={"seed": 1}).runnable
    assert state(keys, model="openai:x", settings={"seed": 1}).runnable
    assert not state(keys, model="openai:x", api="responses", settings={"seed": 1}).runnable


def test_an_mcp_server_that_is_no_program_here_is_missed_and_keeps_nobody_from_running(
    tmp_path: Path,
) -> None:
    (tmp_path / "here").touch(mode=0o755)
    for command in ("here --flag", "./any", str(tmp_path / "any")):
        tools = [{"type": "mcp", "command": command}]
        assert state({"PATH": str(tmp_path)}, model="ollama:x", toolsets=tools) == Readiness(True)
    tools = [{"type": "mcp", "command": "gone"}, {"type": "mcp", "command": "gone --twice"}]
    assert state({"PATH": str(tmp_path)}, model="ollama:x", toolsets=tools) == Readiness(
        True, ("there is no program 'gone' here, an MCP server",)
    )


def test_types_that_do_not_exist_yet_keep_an_agent_from_running() -> None:
    assert state(type="acp") == Readiness(False, ("type acp cannot run in this version",))


def test_an_agent_with_toolsets_runs_if_they_do() -> None:
    tools: list[dict[str, Any]] = [{"type": "execution"}, {"type": "mcp", "url": "${MCP_URL}"}]
    assert state(model="ollama:x", toolsets=tools).missing == ("toolset mcp: MCP_URL is not set",)
    assert state({"MCP_URL": "http://x"}, model="ollama:x", toolsets=tools).runnable
    slow = [{"type": "execution", "timeout_s": "${T}"}]
    assert state({"T": "long"}, model="ollama:x", toolsets=slow).missing == (
        'toolsets.0.timeout_s: expected a number, got "long"',
    )


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"model": "echo"}, "an echo agent calls no tools"),
        (
            {"type": "python", "object": "json:dumps"},
            "an object of Python brings its own tools; remove toolsets",
        ),
    ],
)
def test_toolsets_of_a_type_that_has_no_use_for_them_are_no_silent_wish(
    values: dict[str, Any], missing: str
) -> None:
    assert state(**values, toolsets=[{"type": "tasks"}]) == Readiness(False, (missing,))


def test_what_python_is_to_run_must_be_installed_or_lie_where_the_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = ("there is no Python package 'no_such' here",)
    assert state(type="python", object="json:dumps").runnable
    assert state(type="python", object="no_such.graphs:graph") == Readiness(False, missing)
    tool = {"type": "import", "import_path": "no_such:tool"}
    assert state(model="ollama:x", toolsets=[tool]) == Readiness(False, missing)
    (tmp_path / "no_such.py").touch()
    monkeypatch.chdir(tmp_path)
    assert state(model="ollama:x", toolsets=[tool]).runnable


def test_a_probe_of_the_sandbox_is_asked_for_agents_that_touch_the_machine() -> None:
    def none_here(agent: AgentConfig) -> str | None:
        return f"no {agent.sandbox} here"

    def state_of(*kinds: str) -> Readiness:
        values = {"name": "a", "model": "ollama:x", "toolsets": [{"type": kind} for kind in kinds]}
        return readiness(AgentConfig.model_validate(values), {}, none_here)

    assert state_of("tasks") == state_of("file_access") == Readiness(True)
    assert state_of("file_access", "execution") == Readiness(False, ("no auto here",))


def test_variables_of_the_agent_itself_are_looked_at() -> None:
    assert state(model="ollama:x", settings={"temperature": "${T}"}).missing == ("T is not set",)
    assert state({"T": "hot"}, model="ollama:x", settings={"temperature": "${T}"}).missing == (
        'settings.temperature: expected a number, got "hot"',
    )
    assert state(model="openai:x", api_key="${K}").missing == ("K is not set",)
    assert state({"U": "ftp://x"}, model="openai:x", base_url="${U}").missing == (
        "a URL begins with http:// or https://",
    )
    assert state({"M": "opneai:x"}, model="${M}").missing == (
        "unknown provider 'opneai', did you mean 'openai'?",
    )
    assert state({"M": ""}, model="${M}").missing == ("names no model",)
