"""`trunkline check`: a file's agents, what each lacks here, and which keys have no effect."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from trunkline.table import aligned
from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.readiness import Readiness, readiness
from trunkline_shared.errors import ConfigError

_HEADINGS = ("agent", "type", "model", "pool", "lacks")
_IGNORED_HEADINGS = ("ignored", "line", "because")


def check(path: Path, environ: Mapping[str, str], out: TextIO) -> int:
    """Prints the tables; answers 0, or 1 after one line on stderr if the file is wrong.

    An agent that lacks something is shown, not an error: the others run without it.
    """
    try:
        config = load_config(path, environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    found = [(agent, readiness(agent, environ)) for agent in config.agents.values()]
    for line in aligned([_HEADINGS, *(_row(agent, state) for agent, state in found)]):
        print(line, file=out)
    runnable = sum(state.runnable for _, state in found)
    print(f"\n{runnable} of {len(found)} agents can run here.", file=out)
    if config.ignored:
        rows = [(each.key, each.place, each.reason) for each in config.ignored]
        print("", *aligned([_IGNORED_HEADINGS, *rows]), sep="\n", file=out)
    return 0


def _row(agent: AgentConfig, state: Readiness) -> tuple[str, ...]:
    lacks = "; ".join(state.missing) or "-"
    if state.runnable and state.missing:
        lacks = f"runs without part of its fallback chain: {lacks}"
    return agent.name, agent.type, ", ".join(agent.model) or "-", agent.pool, lacks
