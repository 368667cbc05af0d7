"""From an agent's configuration to its toolsets, and what all of a worker's share."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from trunkline_shared.config.models import AgentConfig
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
from trunkline_worker.sandbox.walls import Sandboxes
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.toolsets import delegation, execution, file_access, imported, tasks
from trunkline_worker.toolsets.base import Toolset
from trunkline_worker.toolsets.delegation import Others

_SWEEP_S: Final = 3600.0


class Workshop:
    """`agents` are all of the file, `others` what can run of them. In `async with` it removes
    old workspaces.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        environ: Mapping[str, str],
        agents: Mapping[str, AgentConfig],
        others: Others,
    ) -> None:
        self._environ = environ
        self._agents = agents
        self._others = others
        self.workspaces = Workspaces(
            _root(settings, environ),
            kept_s=settings.workspace_kept_s,
            max_bytes=settings.workspace_bytes,
        )
        self._sandboxes = Sandboxes(self.workspaces)
        self._sweeping: asyncio.Task[None] | None = None

    def toolsets(self, agent: AgentConfig) -> list[Toolset]:
        """Not yet open. Raises ValueError for a value or a variable that cannot be used."""
        return [self._toolset(each, agent) for each in resolve_toolsets(agent, self._environ)]

    async def __aenter__(self) -> "Workshop":
        self._sweeping = asyncio.create_task(self._sweep(), name="sweep workspaces")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping

    async def _sweep(self) -> None:
        while True:
            with suppress(OSError):  # another worker removes them too
                await self.workspaces.sweep()
            await asyncio.sleep(_SWEEP_S)

    def _toolset(self, config: ToolsetConfig, agent: AgentConfig) -> Toolset:
        match config:
            case FileAccess():
                return file_access.Files(config)
            case ExecutionTools():
                return execution.Commands(config, self._sandboxes, agent.sandbox)
            case Tasks():
                return tasks.Tasks()
            case Mcp():
                from trunkline_worker.toolsets.mcp import McpToolset  # it takes seconds

                return McpToolset(config, self._environ)
            case Import():
                return imported.ImportedFunction(config)
            case Agents():
                return delegation.Delegation(config, agent.name, self._agents, self._others)


def _root(settings: WorkerSettings, environ: Mapping[str, str]) -> Path:
    if settings.workspaces:
        return Path(settings.workspaces)
    state = environ.get("XDG_STATE_HOME", "")
    # The specification of XDG tells to ignore relative paths.
    below = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return below / "trunkline" / "workspaces"
