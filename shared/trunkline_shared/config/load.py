"""Reads the configuration file: YAML, variables, then values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trunkline_shared.config import agentpool
from trunkline_shared.config.complaint import unknown_key, wrong_value
from trunkline_shared.config.findings import Findings, Where
from trunkline_shared.config.interpolate import interpolate
from trunkline_shared.config.models import (
    ECHO_MODELS,
    FIXED_ANSWER,
    AgentConfig,
    ClaudeCode,
    Config,
    EchoSettings,
    Ignored,
    Limits,
    ModelSettings,
    Profiles,
)
from trunkline_shared.config.source import Source, inherited
from trunkline_shared.config.spellings import spelled, without_ignored
from trunkline_shared.config.toolset_spellings import spell_toolsets
from trunkline_shared.errors import ConfigError

RESOLVED_IN_WORKERS = (
    *(("model",), ("base_url",), ("api_key",), ("settings",), ("toolsets",)),
    *(("tools",), ("mcp_servers",), ("env",), ("claude_code", "env")),
)
"""Keys of an agent whose variables the API process neither needs nor sees."""

_OF_MODELS = ("api", "structured_output")
_OF_SERVERS = ("base_url", "api_key")
_NO_USE: Mapping[str, tuple[tuple[str, ...], str]] = {
    "chat": (("echo",), "its model is not echo"),
    "echo": ((*_OF_MODELS, *_OF_SERVERS, "settings", "sandbox"), "it asks no model"),
    "claude_code": ((*_OF_MODELS, "echo"), "only type chat has a use for it"),
    "python": (
        ("model", *_OF_MODELS, *_OF_SERVERS, "sandbox", "echo"),
        "the object brings its model along",
    ),
}
"""By types, our own keys that change nothing there, and why."""
_KEYS_OF_FILE = ("agents", "profiles", "mcp_servers")
_KEYS: dict[str, type[BaseModel]] = {
    "claude_code": ClaudeCode,
    "echo": EchoSettings,
    "limits": Limits,
    "profiles": Profiles,
    "settings": ModelSettings,
}


def load_config(given: Path | Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The agents of a file, or of values of the same shape.

    Raises ConfigError, one line, for the first thing that is wrong.

    Variables are replaced, except in `RESOLVED_IN_WORKERS`.
    """
    source = Source(given)
    if source.values is not None and not isinstance(source.values, dict):
        raise source.error((), "expected a mapping with the key 'agents'")
    values: dict[Any, Any] = source.values or {}
    ignored = _top_ignored(source, values)
    agents = values.get("agents")
    if not agents:
        raise source.error(
            ("agents",), "names no agent; for example: agents: {hello: {model: echo}}"
        )
    if not isinstance(agents, dict):
        raise source.error(("agents",), "expected a mapping of names to agents")
    servers = values.get("mcp_servers") or []
    if not isinstance(servers, list):
        raise source.error(("mcp_servers",), "expected a list")
    read: dict[str, AgentConfig] = {}
    for name in agents:
        read[name], found = _agent(source, name, agents, servers, environ)
        ignored += found
    profiles = _interpolated(source, ("profiles",), values.get("profiles") or {}, environ)
    return Config(
        path=source.path,
        agents=read,
        profiles=_profiles(source, profiles, read),
        ignored=tuple(dict.fromkeys(ignored)),  # what two agents inherit is one key of the file
    )


def _top_ignored(source: Source, values: Mapping[Any, Any]) -> list[Ignored]:
    findings = Findings(source)
    for key, value in values.items():
        known = key in _KEYS_OF_FILE or key in agentpool.REFUSED_IN_FILE
        if key in agentpool.IGNORED_IN_FILE:
            findings.ignore((key,), agentpool.IGNORED_IN_FILE[key])
        elif not known:
            also = ("INHERIT", *agentpool.IGNORED_IN_FILE, *agentpool.REFUSED_IN_FILE)
            raise source.error((key,), unknown_key(key, _KEYS_OF_FILE, also), named=())
        elif value and key in agentpool.REFUSED_IN_FILE:
            raise source.error((key,), agentpool.REFUSED_IN_FILE[key])
    return findings.ignored


def _agent(
    source: Source,
    name: Any,
    agents: Mapping[Any, Any],
    servers: Sequence[Any],
    environ: Mapping[str, str],
) -> tuple[AgentConfig, list[Ignored]]:
    where = ("agents", name)
    if not isinstance(name, str):
        raise source.error(where, "the name of an agent is a text; put it in quotes")
    if not isinstance(agents[name], dict):
        raise source.error(where, "expected a mapping, for example {model: echo}")
    findings = Findings(source, [each for each in agents if isinstance(each, str)])
    values = without_ignored(inherited(source, agents, name), where, findings, servers)
    if "lacks" in values:  # a field, but not one that a file sets
        raise source.error((*where, "lacks"), unknown_key("lacks", _agent_keys()), named=where)
    values = {
        # a key with nothing behind it, as when all of a section is commented out
        key: _interpolated(source, (*where, key), value, environ)
        for key, value in values.items()
        if value is not None or key not in AgentConfig.model_fields
    }
    values = _echoing(spelled(values, where, findings), environ)
    # an echo agent calls no tools, so those of all agents are not for it
    spell_toolsets(values, where, findings, () if values.get("type") == "echo" else servers)
    try:
        agent = AgentConfig.model_validate({**values, "name": name, "lacks": findings.lacks})
    except ValidationError as error:
        raise _first(source, where, error.errors(include_url=False)) from None
    keys, reason = _NO_USE.get(agent.type, ((), ""))
    for key in (key for key in keys if key in values):
        findings.ignore((*where, key), reason)
    return agent, findings.ignored


def _profiles(source: Source, values: Any, agents: Mapping[str, AgentConfig]) -> Profiles:
    try:
        profiles = Profiles.model_validate(values)
    except ValidationError as error:
        raise _first(source, ("profiles",), error.errors(include_url=False)) from None
    chats = [agent.name for agent in agents.values() if agent.type == "chat"]
    if profiles.agent is not None and profiles.agent not in chats:
        known = f"those are {', '.join(chats)}" if chats else "there is none"
        raise source.error(
            ("profiles", "agent"),
            f"{profiles.agent!r} is not an agent of type chat in this file; {known}",
        )
    return profiles


def _interpolated(
    source: Source, where: tuple[str | int, ...], value: Any, environ: Mapping[str, str]
) -> Any:
    if where[2:] in RESOLVED_IN_WORKERS:
        return value
    if isinstance(value, dict):
        return {k: _interpolated(source, (*where, k), v, environ) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolated(source, (*where, i), v, environ) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        return interpolate(value, environ)
    except ValueError as error:
        raise source.error(where, str(error)) from None


def _echoing(values: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """`values` of type echo if the model, as far as it can be told here, says so."""
    model, echo = values.get("model"), values.get("echo") or {}
    if not isinstance(model, str) or values.get("type", "chat") not in ("chat", "native"):
        return values
    try:
        model = interpolate(model, environ).strip()
    except ValueError:
        return values  # a variable that only workers have
    if model in ECHO_MODELS:
        return {**values, "type": "echo"}
    if model.startswith(FIXED_ANSWER) and isinstance(echo, dict):
        text = model.removeprefix(FIXED_ANSWER)
        return {**values, "type": "echo", "model": "test", "echo": {"text": text, **echo}}
    return values


def _first(source: Source, base: Where, errors: list[ErrorDetails]) -> ConfigError:
    located = [((*base, *_without_name(error)), error) for error in errors]
    # a misspelt key first: it also explains what then seems to be missing
    where, error = min(
        located, key=lambda each: (each[1]["type"] != "extra_forbidden", source.line(each[0]))
    )
    if error["type"] == "extra_forbidden":
        *around, key = where
        # the second part is the name of an agent, which may be that of a section
        model = None if len(around) == 2 else _KEYS.get(str(around[-1]))
        known = list(model.model_fields) if model else _agent_keys()
        also = () if model else agentpool.KEYS
        return source.error(where, unknown_key(key, known, also), named=around)
    return source.error(where, wrong_value(error))


def _without_name(error: ErrorDetails) -> tuple[int | str, ...]:
    return () if error["loc"] == ("name",) else error["loc"]


def _agent_keys() -> list[str]:
    fields = AgentConfig.model_fields.items()
    return [field.alias or name for name, field in fields if name not in ("name", "lacks")]
