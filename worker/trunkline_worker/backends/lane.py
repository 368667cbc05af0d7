"""The way to the agent lane, for workers that have use for it: importing it takes seconds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Backend, RunContext, Unavailable
from trunkline_worker.models import ModelSpec

if TYPE_CHECKING:
    from trunkline_worker.agent_lane.backend import AgentBackend


def fits_direct_lane(agent: AgentConfig, models: Sequence[ModelSpec]) -> bool:
    """One call of an OpenAI-compatible model, which is asked for formats natively."""
    return (
        not agent.toolsets
        and agent.structured_output in ("auto", "native")
        and all(model.wire == "chat" for model in models)
    )


async def import_lane() -> None:
    """Beside the loop, which goes on meanwhile."""
    await asyncio.to_thread(import_module, "trunkline_worker.agent_lane.backend")


class LaneBackend:
    """An `AgentBackend` that `make` makes and opens, when `open` or the first run wants it."""

    def __init__(self, make: Callable[[], Awaitable["AgentBackend"]]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: Backend | None = None
        self._running = 0
        self._retired = False

    async def open(self) -> None:
        """Raises ValueError or TrunklineError where the agent cannot work here."""
        await self._backend()

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        self._running += 1
        try:
            return await (await self._ready()).run(request, context)
        finally:
            self._running -= 1
            if self._retired and not self._running:
                await self.aclose()

    async def retire(self) -> None:
        """Closes when no run is left; no other begins."""
        self._retired = True
        if not self._running:
            await self.aclose()

    async def aclose(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()

    async def _ready(self) -> Backend:
        try:
            return await self._backend()
        except (ValueError, TrunklineError) as error:
            raise Unavailable(f"The agent cannot run here: {error}") from error

    async def _backend(self) -> Backend:
        async with self._making:
            if self._made is None:
                await import_lane()
                self._made = await self._make()
            return self._made
