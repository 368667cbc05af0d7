"""The directory that a run's tools work in."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from trunkline_shared.run import RunRequest


@dataclass(frozen=True, slots=True)
class Workspace:
    """`path` is absolute, and only this run and its conversation's have it."""

    path: Path


class Workspaces:
    """All of a worker's, under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @asynccontextmanager
    async def open(self, request: RunRequest) -> AsyncIterator[Workspace]:
        """A conversation's own, kept from run to run; else one that ends with the run."""
        name = request.conversation or request.run_id
        owner = hashlib.sha256(request.principal.encode()).hexdigest()[:16]
        path = self._root / owner / name
        await asyncio.to_thread(path.mkdir, mode=0o700, parents=True, exist_ok=True)
        try:
            yield Workspace(path)
        finally:
            if not request.conversation:
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
