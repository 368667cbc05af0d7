from pathlib import Path
from textwrap import dedent

import pytest

from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import Config

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents.yml"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # so that messages name the file as the operator wrote it
    return tmp_path


def load(directory: Path, text: str, **environ: str) -> Config:
    (directory / "agents.yml").write_text(dedent(text).lstrip("\n"), "utf-8")
    return load_config(Path("agents.yml"), environ)


@pytest.mark.parametrize(
    ("values", "ignored"),
    [
        ({"model": "echo", "settings": {"seed": 1}, "api": "chat"}, ["api", "settings"]),
        ({"model": "openai:x", "echo": {"words": 3}, "api": "responses"}, ["echo"]),
        ({"type": "claude_code", "model": "x", "structured_output": "tool"}, ["structured_output"]),
        (
            {"type": "python", "object": "a:b", "model": "openai:x", "limits": {"max_tokens": 3}},
            ["model"],
        ),
    ],
)
def test_keys_that_a_type_has_no_use_for_are_named(
    values: dict[str, object], ignored: list[str]
) -> None:
    config = load_config({"agents": {"a": values}}, {})
    assert [each.key for each in config.ignored] == [f"agents.a.{key}" for key in ignored]


def test_the_example_loads_and_its_default_agent_needs_nothing() -> None:
    config = load_config(EXAMPLE, {})
    assert list(config.agents) == ["assistant"]
    assert config.agents["assistant"].type == "echo"


def test_the_commented_agents_of_the_example_load_too(directory: Path) -> None:
    def is_prose(line: str) -> bool:
        return (line.startswith("  # ") and line[4].isupper()) or line.startswith("  # coding`")

    lines = EXAMPLE.read_text("utf-8").splitlines()
    config = load(
        directory, "\n".join(line.replace("# ", "", 1) for line in lines[2:] if not is_prose(line))
    )
    assert list(config.agents) == ["assistant", "gpt", "local", "mine", "coder"]
    assert config.pools == ("default", "coding")


def test_the_files_of_the_predecessors_load_unchanged(directory: Path) -> None:
    config = load(
        directory,
        """
        agents:
          gpt-4-custom:
            type: chat
            model: openai:gpt-4
            system_prompt: You are helpful.
          claude-coder:
            type: claude_code
            model: anthropic:claude-sonnet-4-20250514
            toolsets:
              - type: file_access
              - type: execution
          fast: {type: native, model: "openai:gpt-4o-mini"}
          smart: {model: "anthropic:claude-sonnet-4-20250514"}
          local: {model: "ollama:llama3"}
          graph: {type: python, object: "mypackage.graphs:graph"}
          tools:
            model: anthropic:claude-sonnet-4-20250514
            toolsets: [{type: mcp, command: uvx some-server}]
            limits: {timeout_s: 900, max_tool_calls: 50, max_cost: 1.00}
        """,
    )
    assert [agent.type for agent in config.agents.values()] == [
        *("chat", "claude_code", "chat", "chat", "chat", "python", "chat")
    ]
    assert config.agents["gpt-4-custom"].system_prompt == ("You are helpful.",)


@pytest.mark.parametrize(
    ("model", "chain"),
    [
        ("openai:gpt-4o", ("openai:gpt-4o",)),
        ("openai:gpt-4o, groq/llama , ollama:llama3:8b", None),
        (["openai:gpt-4o", "groq/llama", "ollama:llama3:8b"], None),
    ],
)
def test_a_model_is_one_string_a_comma_list_or_a_list(
    directory: Path, model: object, chain: tuple[str, ...] | None
) -> None:
    agent = load(directory, f"agents: {{a: {{model: {model!r}}}}}").agents["a"]
    assert agent.model == (chain or ("openai:gpt-4o", "groq/llama", "ollama:llama3:8b"))
    assert agent.type == "chat"


@pytest.mark.parametrize("model", ["echo", "test", "${M}", "${NONE:-echo}"])
def test_the_models_echo_and_test_make_an_echo_agent(directory: Path, model: str) -> None:
    config = load(
        directory, f"agents: {{a: {{model: '{model}', system_prompt: [x, y]}}}}", M="echo"
    )
    assert config.agents["a"].type == "echo"
    assert config.agents["a"].system_prompt == ("x", "y")


def test_names_may_hold_slashes_and_colons(directory: Path) -> None:
    assert "org/agent:v1" in load(directory, "agents: {'org/agent:v1': {model: echo}}").agents


def test_a_section_with_everything_commented_out_counts_as_absent(directory: Path) -> None:
    agent = load(directory, "agents:\n  a:\n    model: echo\n    settings:\n    limits:\n").agents[
        "a"
    ]
    assert agent.settings == {}
    assert agent.limits.timeout_s == 600


def test_variables_are_replaced_except_where_only_workers_may_see_them(directory: Path) -> None:
    agent = load(
        directory,
        """
        agents:
          a:
            model: ${MODEL}
            base_url: ${URL}
            api_key: ${KEY}
            settings: {temperature: "${T}", extra_headers: {X-Team: "${TEAM}"}}
            pool: ${POOL:-coding}
            description: ${WHO} says $${WHO}
            limits: {timeout_s: "${SECONDS}"}
        """,
        WHO="Ada",
        SECONDS="30",
    ).agents["a"]
    assert (agent.model, agent.base_url, agent.api_key) == (("${MODEL}",), "${URL}", "${KEY}")
    assert agent.settings["temperature"] == "${T}"
    assert agent.pool == "coding"
    assert agent.description == "Ada says ${WHO}"
    assert agent.limits.timeout_s == 30


def test_secrets_are_not_in_the_representation_of_an_agent(directory: Path) -> None:
    body = "{model: 'openai:x', api_key: k-1, settings: {extra_headers: {A: k-2}}}"
    shown = repr(load(directory, f"agents: {{a: {body}}}"))
    assert "k-1" not in shown
    assert "k-2" not in shown


def test_a_merged_mapping_is_taken_over_and_may_be_overridden(directory: Path) -> None:
    config = load(
        directory,
        """
        agents:
          one: &one
            model: echo
            pool: p
          two:
            <<: *one
            pool: q
        """,
    )
    assert config.agents["two"].model == ("echo",)
    assert config.agents["two"].pool == "q"


def test_the_agent_of_profiles_is_one_of_the_file_or_none(directory: Path) -> None:
    agents = "agents: {a: {type: native, model: 'ollama:x'}}"
    assert load(directory, agents).profiles.agent is None
    assert load(directory, f"{agents}\nprofiles:").profiles.agent is None
    assert load(directory, f"{agents}\nprofiles: {{agent: '${{A}}'}}", A="a").profiles.agent == "a"
