"""The way to the agent lane, for workers that have use for it: importing it takes seconds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Backend, RunContext, Unavailable
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.base import Toolset

if TYPE_CHECKING:
    from trunkline_worker.agent_lane.backend import AgentBackend


def fits_direct_lane(agent: AgentConfig, models: Sequence[ModelSpec]) -> bool:
    """One call of an OpenAI-compatible model, which is asked for formats natively."""
    return (
        not agent.toolsets
        and agent.structured_output in ("auto", "native")
        and all(model.wire == "chat" for model in models)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """How the models of a backend are called."""

    client: HttpClient
    prices: Prices
    retry: Retry
    connect_timeout_s: float
    silence_timeout_s: float


def direct_lane(agent: AgentConfig, models: Sequence[ModelSpec], calling: Calling) -> ChatBackend:
    """Raises ValueError."""
    return ChatBackend(
        agent,
        models,
        calling.client,
        calling.prices,
        retry=calling.retry,
        connect_timeout_s=calling.connect_timeout_s,
        silence_timeout_s=calling.silence_timeout_s,
    )


async def import_lane() -> None:
    """Beside the loop, which goes on meanwhile."""
    await asyncio.to_thread(import_module, "trunkline_worker.agent_lane.build")


async def make_lane(
    agent: AgentConfig,
    models: Sequence[ModelSpec],
    toolsets: Sequence[Toolset],
    workspaces: Workspaces,
    calling: Calling,
) -> "AgentBackend":
    """Raises ValueError."""
    await import_lane()
    from trunkline_worker.agent_lane.build import build_lane

    return await asyncio.to_thread(build_lane, agent, models, toolsets, workspaces, calling)


async def open_lane(
    agent: AgentConfig,
    models: Sequence[ModelSpec],
    toolsets: Sequence[Toolset],
    workspaces: Workspaces,
    calling: Calling,
) -> "AgentBackend":
    """Raises ValueError or TrunklineError."""
    backend = await make_lane(agent, models, toolsets, workspaces, calling)
    try:
        await backend.open()
    except BaseException:
        await backend.aclose()
        raise
    return backend


class LaneBackend:
    """A backend that `make` makes and opens, when `open` or the first run wants it."""

    def __init__(self, make: Callable[[], Awaitable[Backend]]) -> None:
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
                self._made = await self._make()
            return self._made
