"""`trunkline check`: a file's agents, what each lacks here, and which keys have no effect."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from trunkline.sandbox_probe import probe_sandboxes
from trunkline.table import aligned
from trunkline_shared.config.capabilities import capabilities
from trunkline_shared.config.interpolate import interpolate
from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.config.readiness import Readiness, profile_readiness, readiness
from trunkline_shared.errors import ConfigError
from trunkline_shared.profile import profile_agent

_HEADINGS = ("agent", "type", "model", "toolsets", "pool", "slots", "lacks")
_REFUSED_HEADINGS = ("agent", "takes none of its callers'")
_IGNORED_HEADINGS = ("ignored", "line", "because")
_TAKES = ("tools", "formats", "sampling", "logprobs", "images", "files", "audio")


def check(path: Path, environ: Mapping[str, str], out: TextIO) -> int:
    """Prints the tables; answers 0, or 1 after one line on stderr if the file is wrong.

    An agent that lacks something is shown, not an error: the others run without it.
    """
    try:
        config = load_config(path, environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    found = _states(config, environ)
    for line in aligned([_HEADINGS, *(_row(agent, state, environ) for agent, state in found)]):
        print(line, file=out)
    runnable = sum(state.runnable for _, state in found)
    print(f"\n{runnable} of {len(found)} agents can run here.", file=out)
    _print_below(_REFUSED_HEADINGS, [row for agent, _ in found if (row := _refused(agent))], out)
    ignored = [(each.key, each.place, each.reason) for each in config.ignored]
    _print_below(_IGNORED_HEADINGS, ignored, out)
    return 0


def _print_below(headings: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO) -> None:
    if rows:
        print("", *aligned([headings, *rows]), sep="\n", file=out)


def _states(config: Config, environ: Mapping[str, str]) -> list[tuple[AgentConfig, Readiness]]:
    """Of every agent; of that of the profiles if the file says something of it."""
    agents = list(config.agents.values())
    profiles = config.profiles.agent or config.profiles.coding
    for_profiles = [profile_agent(config).model_copy(update={"model": ()})] if profiles else []
    sandbox = probe_sandboxes([*agents, *for_profiles])
    return [
        *((agent, readiness(agent, environ, sandbox)) for agent in agents),
        *((agent, profile_readiness(agent, environ, sandbox)) for agent in for_profiles),
    ]


def _row(agent: AgentConfig, state: Readiness, environ: Mapping[str, str]) -> tuple[str, ...]:
    lacks = "; ".join(state.missing) or "-"
    if state.runnable and state.missing:
        lacks = f"runs in part: {lacks}"
    return (
        agent.name,
        agent.type,
        agent.object or ", ".join(_named(model, environ) for model in agent.model) or "-",
        ", ".join(dict.fromkeys(str(toolset["type"]) for toolset in agent.toolsets)) or "-",
        agent.pool,
        str(agent.slots),
        lacks,
    )


def _named(model: str, environ: Mapping[str, str]) -> str:
    try:
        return interpolate(model, environ)
    except ValueError:  # what is missing is what the agent lacks
        return model


def _refused(agent: AgentConfig) -> tuple[str, ...]:
    if agent.type == "echo":
        return ()  # it heeds nothing that callers send but words
    able = capabilities(agent)
    names = [name for name in _TAKES if not getattr(able, name)] + sorted(able.refused)
    return (agent.name, ", ".join(names)) if names else ()
