"""Whether an agent can run here, and what keeps it from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.upstreams import resolve_chain, resolve_settings


@dataclass(frozen=True, slots=True)
class Readiness:
    """`missing` are sentences for the operator. An agent that can run may still miss something:
    what a part of its fallback chain would need."""

    runnable: bool
    missing: tuple[str, ...] = ()


def readiness(agent: AgentConfig, environ: Mapping[str, str]) -> Readiness:
    """What a worker with this environment could do with the agent. Connects to nothing."""
    obstacles = _obstacles(agent)
    if agent.type != "chat":
        return Readiness(not obstacles, tuple(obstacles))
    try:
        resolve_settings(agent, environ)
        chain = resolve_chain(agent, environ)
    except ValueError as error:
        return Readiness(False, (*obstacles, str(error)))
    return Readiness(bool(chain.upstreams) and not obstacles, (*obstacles, *chain.missing))


def profile_readiness(agent: AgentConfig, environ: Mapping[str, str]) -> Readiness:
    """The same for the agent that runs profiles, which bring its model along."""
    obstacles = _obstacles(agent)
    if agent.type != "chat":
        obstacles = [f"profiles are run by agents of type chat, not {agent.type}"]
    try:
        resolve_settings(agent, environ)
    except ValueError as error:
        obstacles.append(str(error))
    return Readiness(not obstacles, tuple(obstacles))


def _obstacles(agent: AgentConfig) -> list[str]:
    tools = dict.fromkeys(map(_named, agent.toolsets))  # each kind once
    obstacles = [*(f"{tool} cannot run in this version" for tool in tools), *agent.lacks]
    if agent.type not in ("chat", "echo"):
        obstacles.insert(0, f"type {agent.type} cannot run in this version")
    return obstacles


def _named(toolset: Mapping[str, Any]) -> str:
    tool = {"import": "import_path", "builtin": "builtin_type"}.get(toolset["type"])
    return f"tool {toolset.get(tool, '')}" if tool else f"toolset {toolset['type']}"
