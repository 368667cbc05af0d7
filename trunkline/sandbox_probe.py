"""Which walls `check` finds for tools: those of a worker, tried in a directory of its own."""

import asyncio
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline_shared.config.models import AgentConfig, SandboxKind
from trunkline_shared.config.readiness import SandboxLack, needs_sandbox

if TYPE_CHECKING:
    from trunkline_worker.sandbox.walls import Sandboxes


def probe_sandboxes(agents: Iterable[AgentConfig]) -> SandboxLack | None:
    """What each kind that these agents want lacks here; None where no worker is installed."""
    wanted = {agent.sandbox for agent in agents if needs_sandbox(agent)}
    try:
        from trunkline_worker.sandbox.walls import Sandboxes
        from trunkline_worker.sandbox.workspace import Workspaces
    except ModuleNotFoundError:
        return None
    with tempfile.TemporaryDirectory(prefix="trunkline-") as directory:
        Path(directory).chmod(0o711)  # as root, commands run as another user
        sandboxes = Sandboxes(Workspaces(Path(directory, "workspaces")))
        lacks = asyncio.run(_lacks(sandboxes, wanted)) if wanted else {}
    return lambda agent: lacks.get(agent.sandbox)


async def _lacks(sandboxes: "Sandboxes", wanted: Collection[SandboxKind]) -> dict[str, str]:
    from trunkline_worker.sandbox.walls import NoSandbox

    lacks: dict[str, str] = {}
    for kind in wanted:
        try:
            await sandboxes.find(kind)
        except NoSandbox as error:
            lacks[kind] = str(error)
    return lacks
