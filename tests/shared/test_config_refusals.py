from pathlib import Path

import pytest

from trunkline_shared.config.load import load_config
from trunkline_shared.errors import ConfigError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # so that messages name the file as the operator wrote it
    return tmp_path


def refusal(directory: Path, text: str) -> str:
    (directory / "agents.yml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(Path("agents.yml"), {})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def agent_refusal(directory: Path, body: str) -> str:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return refusal(directory, f"agents:\n  a:\n{lines}")


@pytest.mark.parametrize(
    ("body", "place", "reason"),
    [
        (
            "model: echo\nsytem_prompt: x",
            "4: agents.a: ",
            "unknown key 'sytem_prompt', did you mean 'system_prompt'?",
        ),
        (
            "model: echo\nlimits:\n  timout_s: 3",
            "5: agents.a.limits: ",
            "unknown key 'timout_s', did you mean 'timeout_s'?",
        ),
        (
            "model: echo\necho:\n  speed: 3",
            "5: agents.a.echo: ",
            "unknown key 'speed', known are words_per_second, words",
        ),
        (
            "model: openai:x\nsettings:\n  temperatur: ${T}",
            "5: agents.a.settings: ",
            "unknown key 'temperatur', did you mean 'temperature'?",
        ),
        ("model: echo\nlacks: [x]", "4: agents.a: ", "unknown key 'lacks', "),
        (
            "model: echo\nlimits:\n  timeout_s: soon",
            "5: agents.a.limits.timeout_s: ",
            'expected a number, got "soon"',
        ),
        (
            "model: echo\nlimits:\n  timeout_s: true",
            "5: agents.a.limits.timeout_s: ",
            "expected a number, got true",
        ),
        (
            "model: echo\nlimits:\n  timeout_s: .inf",
            "5: agents.a.limits.timeout_s: ",
            "expected a finite number",
        ),
        ("model: echo\nslots: 0", "4: agents.a.slots: ", "expected a number of at least 1, got 0"),
        ("model: echo\nslots: 1.5", "4: agents.a.slots: ", "expected a whole number, got 1.5"),
        ("model: echo\ndescription: yes", "4: agents.a.description: ", "expected a text, got true"),
        (
            "model: echo\nlimits: [1]",
            "4: agents.a.limits: ",
            "expected a mapping of keys to values, got a list",
        ),
        ("model: echo\npool: a b", "4: agents.a.pool: ", "expected 1 to 64 letters"),
        ("model:\n- openai:x\n- 3", "5: agents.a.model.1: ", "expected a text, got 3"),
        (
            "model: openai:x\nsettings:\n  parallel_tool_calls: 7",
            "5: agents.a.settings.parallel_tool_calls: ",
            "expected true or false, got 7",
        ),
        ("type: chta", "3: agents.a.type: ", "expected 'chat', 'echo', "),
        ("type: chat", "2: agents.a.model: ", "is missing"),
        ("type: python", "2: agents.a.object: ", "type python needs one"),
        (
            "type: python\nobject: graphs.graph",
            "4: agents.a.object: ",
            "an object is package.module:name, got 'graphs.graph'",
        ),
        ("model: echo\nobject: a:b", "4: agents.a.object: ", "only type python has one"),
        (
            "model: gpt-4o",
            "3: agents.a.model: ",
            "model 'gpt-4o' is not provider:name, for example openai:gpt-4o",
        ),
        (
            "model: opneai:x",
            "3: agents.a.model: ",
            "unknown provider 'opneai', did you mean 'openai'?",
        ),
        ("model: qqq:x", "3: agents.a.model: ", "unknown provider 'qqq', give its base_url"),
        ("model: openai:x, echo", "3: agents.a.model: ", "'echo' stands alone"),
        (
            "model: openai:x, groq:y\napi_key: k",
            "3: agents.a.model: ",
            "base_url and api_key go with one provider",
        ),
        (
            "model: openai:x\nbase_url: localhost:1",
            "4: agents.a.base_url: ",
            "a URL begins with http",
        ),
        (
            "model: echo\ntoolsets: [{type: exection}]",
            "4: agents.a.toolsets.0: ",
            "a toolset needs a known 'type', got 'exection', did you mean 'execution'?",
        ),
        ("model: echo\ndescription: ${NOPE}", "4: agents.a.description: ", "NOPE is not set"),
        (
            "model: echo\nsystem_prompt:\n- x\n- ${no pe}",
            "6: agents.a.system_prompt.1: ",
            "expected ${NAME} or",
        ),
        ("model: echo\nmodel: echo", "4: not valid YAML: ", "a second key 'model' in one mapping"),
        ("model: *nothing", "3: not valid YAML: ", "found undefined alias"),
        ("model: &m\n  x: *m", "3: not valid YAML: ", "an alias to itself"),
        (
            "model: !!python/name:os.system x",
            "3: not valid YAML: ",
            "could not determine a constructor",
        ),
        ("model: echo\n x: y", "4: not valid YAML: ", ""),
        ("model: echo\nmcp_server: x", "4: agents.a: ", "unknown key 'mcp_server', did you mean"),
        ("model: input", "3: agents.a.model: ", "model 'input' cannot be served: nobody sits"),
        ("model: import:a:b", "3: agents.a.model: ", "model 'import:a:b' cannot be served: no"),
        ("model: remote_model:ws://x", "3: agents.a.model: ", "model 'remote_model:ws://x' cannot"),
        ("model: zen:x", "3: agents.a.model: ", "model 'zen:x' cannot be served: its models"),
        ("model: anthropic-max:x", "3: agents.a.model: ", "model 'anthropic-max:x' cannot be"),
        ("model: openai:x, test:y", "3: agents.a.model: ", "'test:y' stands alone"),
        (
            "model:\n  type: delegation",
            "4: agents.a.model.type: ",
            "a model of type 'delegation' cannot be served, known here are fallback, test, string",
        ),
        ("model:\n  seed: 1", "3: agents.a.model.identifier: ", "a model mapping needs a text as"),
        (
            "model:\n  identifier: openai:x\n  temperatur: 1",
            "5: agents.a.model: ",
            "unknown key 'temperatur', did you mean 'temperature'?",
        ),
        (
            "model:\n  identifier: openai:x\n  stop_sequences: 1",
            "5: agents.a.model.stop_sequences: ",
            "expected a list, got 1",
        ),
        (
            "model:\n  type: fallback\n  models:\n  - ollama:x\n  - {identifier: a:y, seed: 1}",
            "7: agents.a.model.models.1: ",
            "its settings differ from the first model's",
        ),
        ("model: {type: fallback}", "3: agents.a.model.models: ", "expected a list of models"),
        ("model: [{identifier: 'a:b'}, 3]", "3: agents.a.model.1: ", "a model is a text or a"),
        (
            "model: echo\nsystem_prompt:\n- {type: library, reference: x}",
            "5: agents.a.system_prompt.0: ",
            "a system_prompt of type library: there is no prompt library; write the text here",
        ),
        (
            "model: echo\nsystem_prompt:\n- {type: function, function: a.b}",
            "5: agents.a.system_prompt.0: ",
            "a system_prompt of type function: no code runs",
        ),
        (
            "model: echo\nsystem_prompt:\n  type: file\n  path: none.md",
            "6: agents.a.system_prompt.path: ",
            "none.md: No such file or directory",
        ),
        (
            "model: echo\nsystem_prompt:\n  type: file\n  path: x\n  variables: {a: b}",
            "7: agents.a.system_prompt.variables: ",
            "files are read as they are",
        ),
        ("model: echo\nsystem_prompt: {text: x}", "4: agents.a.system_prompt: ", "a system_prompt"),
        (
            "model: echo\ntools:\n- 3",
            "5: agents.a.tools.0: ",
            "a tool is an import path or a mapping with a type",
        ),
        ("model: echo\ntools: {a: b}", "4: agents.a.tools: ", "expected a list"),
        (
            "model: echo\nmcp_servers: [{type: carrier-pigeon}]",
            "4: agents.a.mcp_servers.0: ",
            "an MCP server is a command, a URL, or a mapping whose type is "
            "stdio, sse, streamable-http",
        ),
        (
            "model: echo\nusage_limits:\n  output_tokens_limit: lots",
            "5: agents.a.usage_limits.output_tokens_limit: ",
            'expected a whole number, got "lots"',
        ),
        (
            "model: echo\nusage_limits:\n  output_token_limit: 3",
            "5: agents.a.usage_limits: ",
            "unknown key 'output_token_limit', did you mean 'output_tokens_limit'?",
        ),
    ],
)
def test_what_is_wrong_is_said_on_one_line_with_file_line_and_place(
    directory: Path, body: str, place: str, reason: str
) -> None:
    assert agent_refusal(directory, body).startswith(f"agents.yml:{place}{reason}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "agents.yml:1: agents: names no agent"),
        ("# nothing\nagents:\n", "agents.yml:2: agents: names no agent"),
        ("agents: {}", "agents.yml:1: agents: names no agent"),
        ("- x", "agents.yml:1: expected a mapping"),
        ("agents: [x]", "agents.yml:1: agents: expected a mapping"),
        ("agents: {a: }", "agents.yml:1: agents.a: expected a mapping"),
        ("agent: {a: {model: echo}}", "agents.yml:1: unknown key 'agent', did you mean 'agents'?"),
        (
            "agents: {a: {model: echo}}\nteams: {t: {members: [a]}}",
            "agents.yml:2: teams: there are",
        ),
        ("file_agents: {a: a.md}", "agents.yml:1: file_agents: agents stand in this file"),
        (
            "model_variants: {a: {type: test}}",
            "agents.yml:1: model_variants: there are no variants",
        ),
        ("storge: x", "agents.yml:1: unknown key 'storge', did you mean 'storage'?"),
        (
            "agents: {a: {model: echo}}\nmcp_servers: x",
            "agents.yml:2: mcp_servers: expected a list",
        ),
        ("agents: {3: {model: echo}}", "agents.yml:1: agents.3: the name of an agent is a text"),
        ("agents: {a b: {model: echo}}", "agents.yml:1: agents.a b: a name is not empty"),
        ('agents: {"a\\nb": {model: echo}}', "agents.yml:1: agents.'a\\nb': a name is not empty"),
        ('agents: {"": {model: echo}}', "agents.yml:1: agents.: a name is not empty"),
        ("agents: {[a]: 1}", "agents.yml:1: not valid YAML: a key that is not a text"),
        ("agents: 2025-02-31", "agents.yml: not valid YAML: "),
        ("agents: " + 3000 * "[", "agents.yml: nested too deeply"),
        ("a: 1\n---\nb: 1", "agents.yml:2: not valid YAML: "),
        ("a: 1\nb: \0", "agents.yml:2: a character that YAML forbids"),
        ('agents:\n a: {model: "\\ud83d"}', "agents.yml:2: not valid YAML: half of a surrogate"),
        ('agents:\n "\\ud83d": {}', "agents.yml:2: not valid YAML: half of a surrogate pair"),
    ],
)
def test_a_file_without_agents_is_refused(directory: Path, text: str, message: str) -> None:
    assert refusal(directory, text).startswith(message)


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ("{agent: nobody}", "profiles.agent: 'nobody' is not an agent of type chat in this file; "),
        ("{agent: silly}", "profiles.agent: 'silly' is not an agent of type chat in this file; "),
        ("{agnt: chat}", "profiles: unknown key 'agnt', did you mean 'agent'?"),
        ("{agent: chat, coding: true}", "profiles: agent and coding exclude each other"),
        ("{coding: maybe}", "profiles.coding: expected true or false"),
        ("{agent: [chat]}", "profiles.agent: expected a text, got a list"),
        ("chat", "profiles: expected a mapping of keys to values"),
    ],
)
def test_profiles_run_on_a_chat_agent_of_the_file(
    directory: Path, profiles: str, message: str
) -> None:
    agents = "agents: {chat: {model: 'ollama:x'}, silly: {model: echo}}"
    assert refusal(directory, f"{agents}\nprofiles: {profiles}").startswith(
        f"agents.yml:2: {message}"
    )


def test_of_several_mistakes_a_misspelt_key_is_named_then_the_first(directory: Path) -> None:
    body = "model: echo\nslots: 0\npool: a b"
    assert agent_refusal(directory, body).startswith("agents.yml:4: agents.a.slots")
    assert agent_refusal(directory, f"{body}\nx: y").startswith("agents.yml:6: agents.a: unknown")


def test_values_that_may_be_secret_are_not_shown(directory: Path) -> None:
    message = agent_refusal(directory, "model: openai:x\nsettings:\n  extra_headers: {K: 4711}")
    assert "settings.extra_headers.K: expected a text" in message
    assert "4711" not in message


def test_a_file_that_cannot_be_read_is_one_line(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"^none\.yml: no such file$"):
        load_config(Path("none.yml"), {})
    with pytest.raises(ConfigError, match=r": cannot be read: Is a directory$"):
        load_config(directory, {})
    (directory / "latin.yml").write_bytes(b"agents:\n  a: {description: \xe4}\n")
    with pytest.raises(ConfigError, match=r"^latin\.yml:2: not UTF-8 text$"):
        load_config(Path("latin.yml"), {})
