"""Which walls `check` finds for tools: those that a worker would, tried in a directory of its own."""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.config.readiness import SandboxLack, needs_sandbox


def probe_sandboxes(agents: Iterable[AgentConfig]) -> SandboxLack | None:
    """What each kind that these agents want lacks here; None where no worker is installed."""
    wanted = {agent.sandbox for agent in agents if needs_sandbox(agent)}
    try:
        from trunkline_worker.sandbox.walls import NoSandbox, Sandboxes
        from trunkline_worker.sandbox.workspace import Workspaces
    except ModuleNotFoundError:
        return None

    async def lacks() -> dict[str, str]:
        found: dict[str, str] = {}
        with tempfile.TemporaryDirectory(prefix="trunkline-") as directory:
            Path(directory).chmod(0o711)  # as root, commands run as another user
            sandboxes = Sandboxes(Workspaces(Path(directory, "workspaces")))
            for kind in sorted(wanted):
                try:
                    await sandboxes.find(kind)
                except NoSandbox as error:
                    found[kind] = str(error)
        return found

    found = asyncio.run(lacks()) if wanted else {}
    return lambda agent: found.get(agent.sandbox)
