"""Files written for AgentPool load unchanged, and nothing in them is dropped without a word."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.config.readiness import readiness
from trunkline_shared.errors import ConfigError

# The three YAML blocks of AgentPool's page "OpenAI API Server".
AGENT_CONFIGURATION = """
# config.yml
agents:
  # Agents become models with their names as IDs
  gpt-4-custom:
    type: chat
    model: openai:gpt-4
    system_prompt: "You are a helpful assistant."

  claude-coder:
    type: claude_code
    model: anthropic:claude-sonnet-4-20250514
    toolsets:
      - type: file_access
      - type: execution
"""
LOCAL_DEVELOPMENT = """
agents:
  dev-assistant:
    model: ollama:llama3
    system_prompt: "You are a development assistant."
"""
API_GATEWAY = """
agents:
  fast:
    model: openai:gpt-4o-mini
  smart:
    model: anthropic:claude-sonnet-4-20250514
  local:
    model: ollama:llama3
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # so that messages name the file as the operator wrote it
    return tmp_path


def load(directory: Path, text: str, **environ: str) -> Config:
    (directory / "config.yml").write_text(dedent(text).lstrip("\n"), "utf-8")
    return load_config(Path("config.yml"), environ)


def agent(directory: Path, body: str, **environ: str) -> AgentConfig:
    return load(directory, f"agents: {{a: {{{body}}}}}", **environ).agents["a"]


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, text)
    return str(caught.value)


def runnable(config: Config, **environ: str) -> dict[str, bool]:
    return {name: readiness(each, environ).runnable for name, each in config.agents.items()}


def test_the_agent_configuration_of_its_page_loads_and_says_what_the_coder_lacks(
    directory: Path,
) -> None:
    config = load(directory, AGENT_CONFIGURATION)
    assert runnable(config, OPENAI_API_KEY="k") == {"gpt-4-custom": True, "claude-coder": False}
    assert config.agents["gpt-4-custom"].system_prompt == ("You are a helpful assistant.",)
    assert readiness(config.agents["claude-coder"], {}).missing == (
        'needs: pip install "trunkline[claude]"',
        "ANTHROPIC_API_KEY is not set",
    )


def test_its_local_agent_runs_with_nothing_set(directory: Path) -> None:
    assert runnable(load(directory, LOCAL_DEVELOPMENT)) == {"dev-assistant": True}
    assert runnable(load(directory, "agents: {l: {type: chat, model: 'ollama:llama3'}}"))["l"]


def test_its_gateway_has_agents_of_several_providers_side_by_side(directory: Path) -> None:
    config = load(directory, API_GATEWAY)
    assert runnable(config, OPENAI_API_KEY="k") == {"fast": True, "smart": False, "local": True}
    assert config.ignored == ()


@pytest.mark.parametrize(
    ("model", "chain", "settings"),
    [
        ("{type: string, identifier: 'ollama:x', temperature: 0.5, stop_sequences: [a, b]}",
         ("ollama:x",), {"temperature": 0.5, "stop": ["a", "b"]}),
        ("{identifier: 'openai:x', extra_body: {a: 1}, top_p: null}",
         ("openai:x",), {"extra_body": {"a": 1}}),
        ("{provider: openai, model: gpt-5-nano, seed: 7}", ("openai:gpt-5-nano",), {"seed": 7}),
        ("{type: openai, identifier: gpt-4, reasoning_effort: low}",
         ("openai:gpt-4",), {"reasoning_effort": "low"}),
        ("{type: openrouter, identifier: meta/llama}", ("openrouter:meta/llama",), {}),
        ("{type: anthropic, identifier: 'anthropic:claude'}", ("anthropic:claude",), {}),
        ("{type: gemini, identifier: gemini-2.5-pro}", ("gemini:gemini-2.5-pro",), {}),
        ("{type: string, identifier: '${M}', extra_headers: {K: '${K}'}}",
         ("${M}",), {"extra_headers": {"K": "${K}"}}),
        ("{type: fallback, models: ['openai:x, groq:y', {type: fallback, models: ['ollama:z']}]}",
         ("openai:x", "groq:y", "ollama:z"), {}),
        ("{type: fallback, models: [{identifier: 'a:x', seed: 1}, {identifier: 'a:y', seed: 1}]}",
         ("a:x", "a:y"), {"seed": 1}),
        ("[{identifier: 'openai:x'}, 'ollama:y']", ("openai:x", "ollama:y"), {}),
    ],
)  # fmt: skip
def test_a_model_mapping_is_a_chain_and_settings(
    directory: Path, model: str, chain: tuple[str, ...], settings: dict[str, Any]
) -> None:
    url = ", base_url: 'http://x'" if "a:x" in chain else ""
    found = agent(directory, f"model: {model}{url}")
    assert (found.type, found.model, found.settings) == ("chat", chain, settings)


def test_an_agents_own_settings_win_over_those_of_its_model(directory: Path) -> None:
    model = "{identifier: 'ollama:x', temperature: 0.1, seed: 1}"
    found = agent(directory, f"model: {model}, settings: {{temperature: 0.9}}")
    assert found.settings == {"temperature": 0.9, "seed": 1}


@pytest.mark.parametrize(
    "model", ["{type: test, custom_output_text: 'Well, ${WHO}'}", "'test:Well, ${WHO}'"]
)
def test_the_test_model_answers_with_its_text(directory: Path, model: str) -> None:
    found = agent(directory, f"model: {model}", WHO="Ada")
    assert (found.type, found.model, found.echo.text) == ("echo", ("test",), "Well, Ada")
    assert agent(directory, "model: {type: test}").echo.text is None


def test_a_prompt_is_texts_and_files_beside_the_configuration(directory: Path) -> None:
    (directory / "prompts").mkdir()
    (directory / "prompts" / "b.md").write_text("B ${X} {{ y }}\n", "utf-8")
    prompt = "[A, {type: file, path: prompts/b.md}, {type: static, content: C}]"
    assert agent(directory, f"model: echo, system_prompt: {prompt}").system_prompt == (
        *("A", "B ${X} {{ y }}\n", "C"),
    )
    single = "{type: file, path: '${DIR}/b.md', variables: {}}"
    found = agent(directory, f"model: echo, system_prompt: {single}", DIR="prompts")
    assert found.system_prompt == ("B ${X} {{ y }}\n",)


def test_a_display_name_is_the_description_where_there_is_none(directory: Path) -> None:
    assert agent(directory, "model: echo, display_name: Ada").description == "Ada"
    config = load(directory, "agents: {a: {model: echo, display_name: Ada, description: D}}")
    assert config.agents["a"].description == "D"
    assert [each.key for each in config.ignored] == ["agents.a.display_name"]


def test_usage_limits_become_limits_which_win(directory: Path) -> None:
    limits = agent(
        directory,
        "model: echo, limits: {max_tokens: 1},"
        "usage_limits: {output_tokens_limit: 9, tool_calls_limit: 2, request_limit: 3,"
        "total_tokens_limit: 4, cost_limit: 0.5}",
    ).limits
    assert (limits.max_tokens, limits.max_tool_calls, limits.max_requests) == (1, 2, 3)
    assert (limits.max_total_tokens, limits.max_cost) == (4, 0.5)


@pytest.mark.parametrize(
    "body",
    [
        "type: acp, provider: custom, command: goose, args: [acp], allow_terminal: true",
        "type: agui, endpoint: 'http://x', timeout: 3, headers: {A: b}, startup_delay: 1",
        "type: codex, model: gpt-5-codex, reasoning_effort: low, sandbox: read-only",
    ],
)
def test_agents_of_other_types_load_with_their_own_keys(directory: Path, body: str) -> None:
    kind = body.split(",")[0].removeprefix("type: ")
    config = load(directory, f"agents: {{a: {{{body}}}}}")
    assert readiness(config.agents["a"], {}).missing == (f"type {kind} cannot run in this version",)
    assert config.ignored == ()
    assert "unknown key 'cwd'" in refusal(directory, "agents: {a: {model: echo, cwd: x}}")


@pytest.mark.parametrize(
    "asked",
    [
        "knowledge: {paths: [x]}",
        "hooks: {pre_run: [{}]}",
        "workers: [{type: team, name: a}]",
        "output_type: person",
        "connections: [{type: node, name: b}]",
        "usage_limits: {input_tokens_limit: 5}",
        "toolsets: [{type: plan}], environment: {type: docker}",
        "toolsets: [{type: plan}], requires_tool_confirmation: always",
        "toolsets: [{type: execution, environment: {type: docker}}]",
        "toolsets: [{type: execution, tools: {bash: true, kill_process: false}}]",
        "toolsets: [{type: file_access, fs: 's3://x'}]",
        "tools: [{type: import, import_path: 'os:getcwd', requires_confirmation: true}]",
        "mcp_servers: [{type: sse, url: 'http://x', auth: {oauth: true}}]",
        "model: {type: gemini, identifier: x, safety_settings: [{}]}",
    ],
)
def test_what_would_change_an_answer_keeps_its_agent_from_running(
    directory: Path, asked: str
) -> None:
    body = asked if asked.startswith("model") else f"model: 'ollama:x', {asked}"
    missing = readiness(agent(directory, body), {}).missing
    assert any("has no equal in this version" in sentence for sentence in missing)


def test_the_same_keys_with_nothing_in_them_mean_nothing(directory: Path) -> None:
    config = load(
        directory,
        """
        teams: {}
        file_agents:
        mcp_servers: []
        agents:
          a: {model: "ollama:x", workers: [], hooks: {}, knowledge: , tools: [], usage_limits: }
        """,
    )
    assert readiness(config.agents["a"], {}).missing == ()


def test_keys_that_change_no_answer_are_ignored_with_their_place(directory: Path) -> None:
    config = load(
        directory,
        """
        name: mine
        storage: {providers: [{type: sql, url: "${UNSET}"}]}
        agents:
          a:
            model:
              identifier: ollama:x
              timeout: 30
            session: {enable: true}
            requires_tool_confirmation: always
            usage_limits: {count_tokens_before_request: true}
            triggers: [{type: time}]
        """,
    )
    assert [(each.key, each.place) for each in config.ignored] == [
        ("name", "config.yml:1"),
        ("storage", "config.yml:2"),
        ("agents.a.session", "config.yml:8"),
        ("agents.a.requires_tool_confirmation", "config.yml:9"),
        ("agents.a.triggers", "config.yml:11"),
        ("agents.a.model.timeout", "config.yml:7"),
        ("agents.a.usage_limits.count_tokens_before_request", "config.yml:10"),
    ]
    assert all(each.reason for each in config.ignored)
    assert readiness(config.agents["a"], {}).missing == ()
