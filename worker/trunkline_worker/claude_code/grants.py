"""From an agent's toolsets to the tools of the command line that it may use. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from trunkline_shared.config.toolsets import (
    Effect,
    ExecutionTools,
    FileAccess,
    Mcp,
    Tasks,
    ToolsetConfig,
    tool_name,
)

ANSWER_TOOL: Final = "StructuredOutput"
"""By which the command line has the model answer in a format."""
_LOOK: Final = ("Read", "Glob", "Grep")
_CHANGE: Final = ("Write", "Edit")
# Newer and older names: those that a version does not know have no effect.
_EXECUTION: Final = ("Bash", "BashOutput", "KillShell", "TaskOutput", "TaskStop")
_TASKS: Final = ("TaskCreate", "TaskGet", "TaskList", "TaskUpdate", "TodoWrite")


@dataclass(slots=True)
class Grants:
    """`tools` are built in, `allowed` and `denied` are rules for all that may be called.

    `servers` is what the command line is told about MCP, `variables` are for it and for the
    commands that it runs. `network`: whether its tools reach it.
    """

    tools: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    network: bool = False
    _effects: dict[str, Effect] = field(default_factory=dict)
    _toolsets: dict[str, str] = field(default_factory=dict)

    def none(self) -> "Grants":
        """The same without tools."""
        return Grants(variables=self.variables)

    def toolset_of(self, tool: str) -> str:
        """What clients see the tool under."""
        return self._toolsets.get(_family(tool), "claude_code")

    def effect_of(self, tool: str) -> Effect:
        return self._effects.get(_family(tool), "at_most_once")

    def name_of(self, tool: str) -> str:
        """The tool's own name, without its server's."""
        return tool.removeprefix(f"{_family(tool)}__")

    def grant(self, tools: Sequence[str], toolset: str, effect: Effect) -> None:
        self.tools += tools
        self.allowed += tools
        self._effects |= dict.fromkeys(tools, effect)
        self._toolsets |= dict.fromkeys(tools, toolset)

    def connect(self, toolset: Mcp) -> None:
        label = toolset.name or _label(toolset)
        server = tool_name(label).replace("__", "_")
        if server in self.servers:
            server = f"{server}_{len(self.servers)}"
        family = f"mcp__{server}"
        self.servers[server] = _server(toolset)
        names = toolset.tools
        self.allowed += [family] if names is None else [f"{family}__{name}" for name in names]
        self.denied += [f"{family}__{name}" for name in toolset.disabled_tools]
        self._effects[family] = toolset.effect or "at_most_once"
        self._toolsets[family] = label
        self.network = True  # servers are there to reach something
        waits = float(self.variables.get("MCP_TOOL_TIMEOUT", 0))
        self.variables["MCP_TOOL_TIMEOUT"] = str(round(max(waits, toolset.timeout_s * 1000)))


def granted(toolsets: Sequence[ToolsetConfig], variables: Mapping[str, str]) -> Grants:
    """Raises ValueError for a toolset that the command line cannot have."""
    grants = Grants(variables=dict(variables))
    for toolset in toolsets:
        match toolset:
            case FileAccess():
                grants.grant(_LOOK, toolset.type, "pure")
                if not toolset.read_only:
                    grants.grant(_CHANGE, toolset.type, "idempotent")
            case ExecutionTools():
                grants.grant(_EXECUTION, toolset.type, toolset.effect)
                milliseconds = str(round(toolset.timeout_s * 1000))
                grants.variables |= toolset.env
                grants.variables["BASH_DEFAULT_TIMEOUT_MS"] = milliseconds
                grants.variables["BASH_MAX_TIMEOUT_MS"] = milliseconds
                grants.network |= toolset.network
            case Tasks():
                grants.grant(_TASKS, toolset.type, "idempotent")
            case Mcp():
                grants.connect(toolset)
            case _:
                raise ValueError(f"agents of type claude_code cannot have a toolset {toolset.type}")
    return grants


def _family(tool: str) -> str:
    """A built-in tool itself; of an MCP server's tool what all of that server begin with."""
    kind, *names = tool.split("__")
    return f"mcp__{names[0]}" if kind == "mcp" and names else tool


def _label(toolset: Mcp) -> str:
    if toolset.command:
        return shlex.split(toolset.command)[0].rpartition("/")[2]
    return urlsplit(toolset.url or "").hostname or "mcp"


def _server(toolset: Mcp) -> dict[str, Any]:
    if toolset.cwd is not None:
        raise ValueError("mcp: in agents of type claude_code a command has no cwd")
    if toolset.command:
        command, *args = [toolset.command, *toolset.args]
        if not args:
            command, *args = shlex.split(command)
        return {"type": "stdio", "command": command, "args": args, "env": dict(toolset.env)}
    kind = "sse" if toolset.transport == "sse" else "http"
    return {"type": kind, "url": toolset.url, "headers": dict(toolset.headers)}
