"""Whether an agent can run here, and what keeps it from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from shutil import which
from typing import TypeAlias

from trunkline_shared.config.capabilities import BY_WIRE
from trunkline_shared.config.installed import importable, installed
from trunkline_shared.config.interpolate import interpolate_tree
from trunkline_shared.config.models import AgentConfig, ModelSettings
from trunkline_shared.config.toolsets import Import, Mcp, resolve_toolsets
from trunkline_shared.config.upstreams import Chain, resolve_chain, resolve_settings

_OF_CLAUDE_CODE = ("file_access", "execution", "tasks", "mcp")
SandboxLack: TypeAlias = Callable[[AgentConfig], str | None]
"""Why an agent's tools cannot be walled in here as it wants, if they cannot."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """`missing` are sentences for the operator. An agent that can run may still miss something:
    what a part of its fallback chain would need, or some of its tools."""

    runnable: bool
    missing: tuple[str, ...] = ()


def readiness(
    agent: AgentConfig, environ: Mapping[str, str], sandbox: SandboxLack | None = None
) -> Readiness:
    """What a worker with this environment could do with the agent. Connects to nothing and imports
    nothing; without `sandbox`, nothing is said of it."""
    obstacles = _obstacles(agent, environ, sandbox)
    if agent.type not in ("chat", "claude_code"):
        return Readiness(not obstacles, tuple(obstacles))
    try:
        settings = resolve_settings(agent, environ)
        interpolate_tree(agent.claude_code and agent.claude_code.env, environ)
        chain = resolve_chain(agent, environ)
    except ValueError as error:
        return Readiness(False, (*obstacles, str(error)))
    if agent.type == "chat":
        obstacles += _refused_settings(settings, chain)
    runnable = bool(chain.upstreams) and not obstacles
    programs = [] if obstacles else _absent_programs(agent, environ)
    return Readiness(runnable, (*obstacles, *chain.missing, *programs))


def _absent_programs(agent: AgentConfig, environ: Mapping[str, str]) -> list[str]:
    """Of MCP servers, which may come later: those that a worker would look for in its PATH."""
    servers = [each for each in resolve_toolsets(agent, environ) if isinstance(each, Mcp)]
    programs = [each.words[0] for each in servers if each.words]
    return [
        f"there is no program {name!r} here, an MCP server"
        for name in dict.fromkeys(programs)
        if "/" not in name and not which(name, path=environ.get("PATH"))
    ]


def _refused_settings(settings: ModelSettings, chain: Chain) -> list[str]:
    given = settings.model_dump(exclude_none=True)
    providers = {each.provider.name: each.wire for each in chain.upstreams}
    return [
        f"settings.{name}: models of {provider} do not take it"
        for provider, wire in providers.items()
        for name in given
        if name in BY_WIRE[wire].refused
    ]


def profile_readiness(
    agent: AgentConfig, environ: Mapping[str, str], sandbox: SandboxLack | None = None
) -> Readiness:
    """The same for the agent that runs profiles, which bring its model along."""
    obstacles = _obstacles(agent, environ, sandbox)
    if agent.type != "chat":
        obstacles = [f"profiles are run by agents of type chat, not {agent.type}"]
    try:
        resolve_settings(agent, environ)
    except ValueError as error:
        obstacles.append(str(error))
    return Readiness(not obstacles, tuple(obstacles))


def needs_sandbox(agent: AgentConfig) -> bool:
    """Whether what a model says may start something on the worker's machine."""
    return agent.type == "claude_code" or any(t["type"] == "execution" for t in agent.toolsets)


def _obstacles(
    agent: AgentConfig, environ: Mapping[str, str], sandbox: SandboxLack | None
) -> list[str]:
    found = [_type_lack(agent), *_toolset_lacks(agent, environ), *agent.lacks]
    if sandbox is not None and needs_sandbox(agent):
        found.append(sandbox(agent))
    return [lack for lack in found if lack]


def _type_lack(agent: AgentConfig) -> str | None:
    match agent.type:
        case "chat" | "echo":
            return None
        case "claude_code":
            return (
                None if installed("claude_agent_sdk") else 'needs: pip install "trunkline[claude]"'
            )
        case "python":
            return _module_lack(agent.object or "")
    return f"type {agent.type} cannot run in this version"


def _module_lack(path: str) -> str | None:
    """Only the worker imports it, and then sees the rest."""
    package = path.partition(":")[0].partition(".")[0]
    return None if importable(package) else f"there is no Python package {package!r} here"


def _toolset_lacks(agent: AgentConfig, environ: Mapping[str, str]) -> list[str | None]:
    if agent.toolsets and agent.type == "echo":
        return ["an echo agent calls no tools"]
    if agent.toolsets and agent.type == "python":
        return ["an object of Python brings its own tools; remove toolsets"]
    if agent.type == "claude_code":
        foreign = [t["type"] for t in agent.toolsets if t["type"] not in _OF_CLAUDE_CODE]
        if foreign:
            return [f"agents of type claude_code cannot have a toolset {foreign[0]}"]
    try:
        toolsets = resolve_toolsets(agent, environ)
    except ValueError as error:
        return [str(error)]
    paths = [each.import_path for each in toolsets if isinstance(each, Import)]
    return [_module_lack(path) for path in paths]
