"""An agent's toolsets, tools, MCP servers and workers as AgentPool spells them, in our toolsets.

Each is checked as far as it holds no variable. What does not run here is a lack of its agent.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from trunkline_shared.config.complaint import unknown_key, wrong_value
from trunkline_shared.config.findings import Findings, Where
from trunkline_shared.config.interpolate import holds_variable
from trunkline_shared.config.toolsets import ALONE, MODELS, keys_of, parse_toolset

_CANNOT_RUN = (
    *("aggregating", "builtin", "code", "code_mode", "composio", "config_creation", "cron"),
    *("custom", "debug", "entry_points", "mcp_discovery", "notifications", "openapi"),
    *("question", "remote_code_mode", "search", "semantic_memory", "skills"),
    *("user_interaction", "vfs"),
)
_PART = " part"
_SAME: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bash": {"type": "execution", _PART: True},
        "execute_code": {"type": "execution", _PART: True},
        "process_management": {"type": "execution", _PART: True},
        "grep": {"type": "file_access", "read_only": True, _PART: True},
        "list_directory": {"type": "file_access", "read_only": True, _PART: True},
        "read": {"type": "file_access", "read_only": True, _PART: True},
        "plan": {"type": "tasks"},
        "subagent": {"type": "agents"},
        "workers": {"type": "agents"},
    }
)
"""AgentPool's types, and what they are here; those of a single tool are a part of it."""

_KNOWN = (*MODELS, *_SAME, "import_tools", *_CANNOT_RUN)
_TRANSPORTS = ("stdio", "sse", "streamable-http")

_FILES = "files are read and edited as they are, in bounded parts"
_IGNORED: Mapping[str, str] = MappingProxyType(
    {
        "namespace": "tools have names of their own",
        "batch_stream_deltas": "what the other agent says is the tool's result",
        "instructions": "its description tells the model",
        "metadata": "nothing shows it",
        **dict.fromkeys(
            (
                *("conversion", "model", "max_file_size_kb", "max_grep_output_kb"),
                *("use_subprocess_grep", "enable_diagnostics", "large_file_tokens"),
                *("map_max_tokens", "edit_tool", "max_image_size", "max_image_bytes"),
            ),
            _FILES,
        ),
    }
)
_CANNOT: Mapping[str, str] = MappingProxyType(
    {
        "fs": "tools see the run's workspace alone",
        "storage_options": "tools see the run's workspace alone",
        "environment": "commands run in the run's workspace",
        "requires_confirmation": "nobody is asked before a tool runs",
        "auth": "give a token in headers",
    }
)
_OF_COMMANDS = ("args", "env", "cwd")
_NO_COMMAND = "a URL starts no command"
_NO_URL = "a command is sent no headers"
_MEAN_NOTHING: tuple[Any, ...] = (
    None,
    False,
    "",
    "local",
    [],
    {},
    {"type": "local"},
    {"oauth": False},
)

_Found = tuple[dict[str, Any], Where]


def spell_toolsets(
    values: dict[str, Any], where: Where, findings: Findings, servers: Sequence[Any]
) -> None:
    """Makes `toolsets` of all that gives the agent tools. Raises ConfigError for what is wrong."""
    workers = values.pop("workers", None)
    given: list[_Found] = [
        *_each(values.pop("toolsets", None), (*where, "toolsets"), findings, _toolset),
        *_each(values.pop("tools", None), (*where, "tools"), findings, _tool),
        *_each(values.pop("mcp_servers", None), (*where, "mcp_servers"), findings, _server),
        *_each(servers, ("mcp_servers",), findings, _server),
    ]
    if workers:
        given.append(({"type": "agents", "workers": workers, _PART: True}, (*where, "workers")))
    spelled = [found for one in given for found in _spelled(*one, findings)]
    values["toolsets"] = _merged(spelled, findings)


def _merged(found: Sequence[_Found], findings: Findings) -> list[dict[str, Any]]:
    """All of them; of those that are a part of a toolset only the first, unless it is there."""
    toolsets: list[dict[str, Any]] = []
    parts: dict[str, dict[str, Any]] = {}
    kinds = set()
    for values, origin in found:
        kind, is_part = values["type"], values.pop(_PART, False)
        _check(values, origin, findings)
        if is_part:
            parts.setdefault(kind, values)
        elif kind not in ALONE or kind not in kinds:
            toolsets.append(values)
        elif values not in toolsets:
            raise findings.source.error(origin, f"a second toolset of type {kind}")
        kinds |= set() if is_part else {kind}
    return [*toolsets, *(values for kind, values in parts.items() if kind not in kinds)]


def _each(
    given: Any, at: Where, findings: Findings, spell: Callable[[Any], dict[str, Any] | str]
) -> Iterator[_Found]:
    if given is None:
        return
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise findings.source.error(at, "expected a list")
    for index, item in enumerate(given):
        toolset = spell(item)
        if isinstance(toolset, str):
            raise findings.source.error((*at, index), toolset)
        yield toolset, (*at, index)


def _toolset(item: Any) -> dict[str, Any] | str:
    """The toolset, or what is wrong."""
    return item if isinstance(item, dict) else "a toolset is a mapping with a type"


def _tool(item: Any) -> dict[str, Any] | str:
    if isinstance(item, str):
        return {"type": "import", "import_path": item}
    return item if isinstance(item, dict) else "a tool is an import path or a mapping with a type"


def _server(item: Any) -> dict[str, Any] | str:
    if isinstance(item, str):
        if not item.startswith(("http://", "https://")):
            return {"type": "mcp", "command": item}
        transport = "sse" if item.endswith("/sse") else "streamable-http"
        return {"type": "mcp", "transport": transport, "url": item}
    kind = item.get("type", "stdio") if isinstance(item, dict) else None
    if kind not in _TRANSPORTS:
        return (
            "an MCP server is a command, a URL, or a mapping whose type is "
            f"{', '.join(_TRANSPORTS)}"
        )
    return {**item, "type": "mcp", "transport": kind}


def _spelled(given: dict[str, Any], origin: Where, findings: Findings) -> Iterator[_Found]:
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _KNOWN:
        near = difflib.get_close_matches(str(kind), _KNOWN, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise findings.source.error(origin, f"a toolset needs a known 'type', got {kind!r}{hint}")
    if given.get("enabled") is False:
        return
    if kind == "import_tools":
        tools = _each(given.get("tools"), (*origin, "tools"), findings, _tool)
        yield from (found for tool in tools for found in _spelled(*tool, findings))
    elif kind in _CANNOT_RUN:
        named = f"tool {given.get('builtin_type')}" if kind == "builtin" else f"toolset {kind}"
        sentence = f"{named} cannot run in this version"
        if sentence not in findings.lacks:
            findings.lacks.append(sentence)
    else:
        values = {**given, **_SAME.get(kind, {"type": kind})}
        yield _in_our_keys(values, kind, origin, findings), origin


def _in_our_keys(
    given: dict[str, Any], kind: str, origin: Where, findings: Findings
) -> dict[str, Any]:
    values = _renamed(given, kind, origin, findings)
    own = keys_of(given["type"])
    for key in [key for key in values if key not in (*own, "type", _PART)]:
        value = values.pop(key)
        if key in _IGNORED:
            findings.ignore((*origin, key), _IGNORED[key])
        elif key not in _CANNOT:
            raise findings.source.error((*origin, key), unknown_key(key, own), named=origin)
        elif value not in _MEAN_NOTHING:
            findings.lack(f"{kind}.{key}", _CANNOT[key])
    other, reason = (_OF_COMMANDS, _NO_COMMAND) if values.get("url") else (("headers",), _NO_URL)
    for key in other if values["type"] == "mcp" else ():
        if values.pop(key, None):
            findings.ignore((*origin, key), reason)
    return values


def _renamed(given: dict[str, Any], kind: str, origin: Where, findings: Findings) -> dict[str, Any]:
    values = {key: value for key, value in given.items() if key != "enabled"}
    if "workers" in values:
        where = origin if origin[-1] == "workers" else (*origin, "workers")
        values["agents"] = _names(values.pop("workers"), where, findings)
    if isinstance(hints := values.get("hints"), dict):
        del values["hints"]
        values.setdefault("effect", _effect(hints))
    if isinstance(values.get("tools"), dict) and not all(values.pop("tools").values()):
        findings.lack(f"{kind}.tools", "its tools come together")
    path = values.get("import_path")
    if isinstance(path, str) and ":" not in path:  # AgentPool's other way to say it
        values["import_path"] = ":".join(path.rsplit(".", 1))
    return values


def _names(workers: Any, where: Where, findings: Findings) -> list[Any]:
    names = []
    for index, worker in enumerate(workers if isinstance(workers, list) else [workers]):
        name = worker.get("name") if isinstance(worker, dict) else worker
        if not isinstance(name, str):
            raise findings.source.error((*where, index), "a worker is the name of an agent")
        if isinstance(worker, dict) and worker.get("type") == "team":
            findings.lack("workers", "there are no teams")
            continue
        if isinstance(worker, dict) and worker.get("pass_message_history"):
            findings.lack("workers", "another agent is told its task alone")
        names.append(name)
    return names


def _effect(hints: Mapping[str, Any]) -> str:
    if hints.get("read_only"):
        return "pure"
    return "idempotent" if hints.get("idempotent") else "at_most_once"


def _check(values: dict[str, Any], origin: Where, findings: Findings) -> None:
    source = findings.source
    try:
        parse_toolset(values)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            if not (isinstance(each["input"], str) and holds_variable(each["input"])):
                raise source.error((*origin, *each["loc"][1:]), wrong_value(each)) from None
    if values["type"] != "agents" or not source.path:  # a program may add agents later
        return
    for name in values.get("agents", ()):
        if name == origin[1]:
            raise source.error(origin, "an agent cannot ask itself")
        if not holds_variable(name) and name not in findings.agents:
            raise source.error(origin, f"there is no agent {name!r} in this file")
