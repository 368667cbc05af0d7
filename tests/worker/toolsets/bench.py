"""A toolset with a workspace to call it in."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trunkline_shared.run import RunRequest, new_run_id
from trunkline_worker.backends.base import RunContext
from trunkline_worker.sandbox.workspace import DEFAULT_BYTES, Workspace, Workspaces
from trunkline_worker.toolsets.base import Invocation, ToolError, Toolset


async def no_gate() -> None:
    """The lease is surely held."""


@dataclass
class Bench:
    toolset: Toolset
    request: RunRequest
    workspace: Workspace
    heard: list[str] = field(default_factory=list)

    async def call(self, name: str, **arguments: Any) -> str:
        context = RunContext(no_gate, lambda events: None)
        call = Invocation("call_1", self.request, context, self.workspace, self.heard.append)
        return await self.toolset.call(name, arguments, call)

    async def refused(self, name: str, **arguments: Any) -> str:
        """What the model is told of a call that fails."""
        try:
            said = await self.call(name, **arguments)
        except ToolError as error:
            return str(error)
        raise AssertionError(f"{name} gave {said!r}")


@asynccontextmanager
async def bench(
    toolset: Toolset, workspaces: Workspaces | None = None, *, max_bytes: int = DEFAULT_BYTES
) -> AsyncIterator[Bench]:
    request = RunRequest(new_run_id(), "agent")
    with tempfile.TemporaryDirectory() as root:
        workspaces = workspaces or Workspaces(Path(root) / "w", max_bytes=max_bytes)
        await toolset.open()
        try:
            async with workspaces.open(request) as workspace:
                yield Bench(toolset, request, workspace)
        finally:
            await toolset.aclose()
