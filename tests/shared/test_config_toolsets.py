"""What gives an agent tools, as files of ours and of AgentPool say it."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.config.readiness import readiness
from trunkline_shared.config.toolsets import (
    Agents,
    ExecutionTools,
    FileAccess,
    Import,
    Mcp,
    Tasks,
    ToolsetConfig,
    resolve_toolsets,
)
from trunkline_shared.errors import ConfigError


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # so that messages name the file as the operator wrote it
    return tmp_path


def load(text: str) -> Config:
    Path("agents.yml").write_text(dedent(text).lstrip("\n"), "utf-8")
    return load_config(Path("agents.yml"), {})


def agent(*lines: str) -> AgentConfig:
    body = "\n".join(f"    {line}" for line in ("model: ollama:x", *lines))
    return load(f"agents:\n  b: {{model: echo}}\n  a:\n{body}\n").agents["a"]


def toolsets(*lines: str, **environ: str) -> list[ToolsetConfig]:
    return resolve_toolsets(agent(*lines), environ)


def refusal(*lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        agent(*lines)
    return str(caught.value)


def test_every_toolset_is_said_by_its_type_and_keys() -> None:
    assert toolsets(
        "toolsets:",
        "- {type: file_access, read_only: true}",
        "- {type: execution, effect: idempotent, network: true, timeout_s: 5, env: {A: b}}",
        "- {type: tasks}",
        "- {type: mcp, command: uvx, args: [some-server]}",
        "- {type: import, import_path: 'os.path:basename', effect: pure}",
        "- {type: agents, agents: [b], max_depth: 1}",
    ) == [
        FileAccess(read_only=True),
        ExecutionTools(effect="idempotent", network=True, timeout_s=5, env={"A": "b"}),
        Tasks(),
        Mcp(command="uvx", args=("some-server",)),
        Import(import_path="os.path:basename", effect="pure"),
        Agents(agents=("b",), max_depth=1),
    ]


def test_variables_are_looked_up_in_workers_only() -> None:
    lines = (
        "toolsets: [{type: mcp, url: '${U}', headers: {K: '${KEY}'}, timeout_s: '${T:-5}'}]",
        "mcp_servers: ['run --token ${TOKEN}']",
    )
    found = agent(*lines)
    assert found.toolsets[0]["headers"] == {"K": "${KEY}"}
    with pytest.raises(ValueError, match="toolset mcp: U is not set"):
        resolve_toolsets(found, {})
    assert resolve_toolsets(found, {"U": "http://x", "KEY": "k", "TOKEN": "t"}) == [
        Mcp(url="http://x", headers={"K": "k"}, timeout_s=5),
        Mcp(command="run --token t"),
    ]
    assert "KEY" not in repr(found)


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (
            ["toolsets:", "- type: file_access", "  readonly: true"],
            "agents.yml:7: agents.a.toolsets.0: unknown key 'readonly', did you mean 'read_only'?",
        ),
        (
            ["toolsets:", "- type: execution", "  timeout_s: 0"],
            "agents.yml:7: agents.a.toolsets.0.timeout_s: "
            "expected a number greater than 0.0, got 0",
        ),
        (
            ["toolsets:", "- {type: tasks}", "- type: execution", "  effect: maybe"],
            "agents.yml:8: agents.a.toolsets.1.effect: "
            "expected 'pure', 'idempotent' or 'at_most_once', got \"maybe\"",
        ),
        (
            ["toolsets: [{type: mcp}]"],
            "agents.yml:5: agents.a.toolsets.0: an mcp toolset needs either a command or a url",
        ),
        (
            ['toolsets: [{type: mcp, command: "run \'this"}]'],
            "agents.yml:5: agents.a.toolsets.0: the command cannot be read as a shell would: "
            "No closing quotation",
        ),
        (
            ["toolsets: [{type: mcp, url: 'ftp://host'}]"],
            "agents.yml:5: agents.a.toolsets.0.url: a URL begins with http:// or https://",
        ),
        (
            ["toolsets: [{type: import}]"],
            "agents.yml:5: agents.a.toolsets.0.import_path: is missing",
        ),
        (
            ["tools: [print]"],
            "agents.yml:5: agents.a.tools.0.import_path: "
            "a function is package.module:function, got 'print'",
        ),
        (
            ["toolsets: [{type: execution}, {type: execution, network: true}]"],
            "agents.yml:5: agents.a.toolsets.1: a second toolset of type execution",
        ),
        (
            ["toolsets: [{type: agents, agents: [c]}]"],
            "agents.yml:5: agents.a.toolsets.0: there is no agent 'c' in this file",
        ),
        (
            ["toolsets: [{type: agents, agents: [a]}]"],
            "agents.yml:5: agents.a.toolsets.0: an agent cannot ask itself",
        ),
        (["toolsets: [execution]"], "agents.yml:5: agents.a.toolsets.0: a toolset is a mapping"),
        (["workers: [3]"], "agents.yml:5: agents.a.workers.0: a worker is the name"),
        (["toolsets: 3"], "agents.yml:5: agents.a.toolsets: expected a list"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(lines: list[str], error: str) -> None:
    assert refusal(*lines).startswith(error)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tools: [os.getcwd]", [Import(import_path="os:getcwd")]),
        (
            "tools: [{type: import, import_path: 'os:getcwd', name: where,"
            " hints: {read_only: true}, metadata: {a: b}, requires_confirmation: false}]",
            [Import(import_path="os:getcwd", name="where", effect="pure")],
        ),
        (
            "toolsets: [{type: import_tools, tools: [os.getcwd, 'os:getpid']}]",
            [Import(import_path="os:getcwd"), Import(import_path="os:getpid")],
        ),
        ("tools: [{type: bash}, {type: execute_code}]", [ExecutionTools()]),
        ("tools: [{type: process_management}]", [ExecutionTools()]),
        ("tools: [{type: read}, {type: grep}, {type: list_directory}]",
         [FileAccess(read_only=True)]),
        ("tools: [{type: read}, {type: file_access}]", [FileAccess()]),
        ("toolsets: [{type: plan}]", [Tasks()]),
        ("toolsets: [{type: subagent, namespace: x}]", [Agents()]),
        ("toolsets: [{type: workers, workers: [b]}]", [Agents(agents=("b",))]),
        ("workers: [b]", [Agents(agents=("b",))]),
        ("workers: [{type: agent, name: b, reset_history_on_run: true}]",
         [Agents(agents=("b",))]),
        ("toolsets: [{type: file_access, max_file_size_kb: 64, edit_tool: batch, fs: null}]",
         [FileAccess()]),
        ("toolsets: [{type: execution, environment: {type: local}, tools: {bash: true}}]",
         [ExecutionTools()]),
        ("toolsets: [{type: execution}, {type: execution}]", [ExecutionTools()]),
        ("mcp_servers: [uvx own-server, 'http://x/sse', 'https://x/mcp']",
         [
             Mcp(command="uvx own-server"),
             Mcp(transport="sse", url="http://x/sse"),
             Mcp(transport="streamable-http", url="https://x/mcp"),
         ]),
        ("mcp_servers: [{type: stdio, command: x, args: [y]}, {command: z, enabled: false}]",
         [Mcp(transport="stdio", command="x", args=("y",))]),
    ],
)  # fmt: skip
def test_agentpools_ways_to_say_it_are_ours(line: str, found: list[Any]) -> None:
    assert toolsets(line) == found
    assert readiness(agent(line), {}).runnable


def test_servers_of_the_file_are_for_every_agent_that_calls_tools() -> None:
    config = load(
        """
        mcp_servers: [uvx shared-server]
        agents:
          a: {model: "ollama:x", mcp_servers: [uvx own-server]}
          b: {model: echo}
        """
    )
    own, shared = Mcp(command="uvx own-server"), Mcp(command="uvx shared-server")
    assert resolve_toolsets(config.agents["a"], {}) == [own, shared]
    assert config.agents["b"].toolsets == ()


def test_what_does_not_run_here_keeps_its_agent_from_running() -> None:
    found = agent(
        "toolsets: [{type: composio, user_id: x}, {type: builtin, builtin_type: web_search}]",
        "tools: [{type: cron}, {type: cron}]",
    )
    assert found.toolsets == ()
    assert readiness(found, {}).missing == (
        "toolset composio cannot run in this version",
        "tool web_search cannot run in this version",
        "toolset cron cannot run in this version",
    )


def test_what_only_the_other_kind_of_server_has_is_named_as_ignored() -> None:
    values = {
        "model": "openai:x",
        "toolsets": [
            {"type": "mcp", "url": "http://x", "args": ["a"], "env": {"A": "b"}, "cwd": None},
            {"type": "mcp", "command": "run", "args": ["a"], "headers": {"A": "b"}},
        ],
    }
    config = load_config({"agents": {"a": values}}, {})
    assert [(each.key, each.reason) for each in config.ignored] == [
        ("agents.a.toolsets.0.args", "a URL starts no command"),
        ("agents.a.toolsets.0.env", "a URL starts no command"),
        ("agents.a.toolsets.1.headers", "a command is sent no headers"),
    ]
    assert resolve_toolsets(config.agents["a"], {}) == [
        Mcp(url="http://x"),
        Mcp(command="run", args=("a",)),
    ]


def test_a_program_may_name_agents_that_it_adds_later() -> None:
    given = {"model": "ollama:x", "toolsets": [{"type": "agents", "agents": ["later"]}]}
    found = load_config({"agents": {"a": given}}, {}).agents["a"]
    assert resolve_toolsets(found, {}) == [Agents(agents=("later",))]
