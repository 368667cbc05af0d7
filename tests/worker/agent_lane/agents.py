"""Agents with tools in tests: their toolsets, their backends, and the journals of their runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.upstream import FakeUpstream
from tests.worker.agent_lane.asking import chain_of
from tests.worker.backends.driving import no_gate, request, spec
from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.config.toolsets import Effect
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.backend import AgentBackend
from trunkline_worker.backends.base import RunContext
from trunkline_worker.models import ModelSpec
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.base import Invocation, Toolset, ToolSpec

Work = Callable[[Mapping[str, Any], Invocation], Awaitable[str]]

ANY = {"type": "object", "properties": {"at": {"type": "string"}}}


@dataclass
class Bench:
    """A toolset whose tools are functions; `called` says which were called, with what."""

    works: Mapping[str, Work]
    effects: Mapping[str, Effect] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=lambda: ANY)
    name: str = "bench"
    called: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    is_open: bool = False

    async def open(self) -> None:
        self.is_open = True

    async def tools(self) -> Sequence[ToolSpec]:
        return [
            ToolSpec(name, f"Does {name}.", self.parameters, self.effects.get(name, "pure"))
            for name in self.works
        ]

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        self.called.append((name, arguments))
        return await self.works[name](arguments, call)

    async def aclose(self) -> None:
        self.is_open = False


async def looked(arguments: Mapping[str, Any], _: Invocation) -> str:
    return f"saw {arguments.get('at', 'nothing')}"


def bench(**works: Work) -> Bench:
    return Bench(works or {"look": looked})


@asynccontextmanager
async def agent(
    *specs: ModelSpec,
    toolsets: Sequence[Toolset] = (),
    limits: Limits | None = None,
    root: Path = Path("/nowhere"),
    **fields: Any,
) -> AsyncIterator[AgentBackend]:
    async with chain_of(*specs, limits=limits) as chain:
        config = AgentConfig(name="test", model=("vllm:x",), base_url="http://h/v1", **fields)
        yield AgentBackend(config, chain, toolsets, Workspaces(root))


@asynccontextmanager
async def planner(
    upstream: FakeUpstream, root: Path, *toolsets: Toolset, **fields: Any
) -> AsyncIterator[AgentBackend]:
    """An agent of the model that does what its prompt says."""
    async with agent(spec(upstream, "plan"), toolsets=toolsets, root=root, **fields) as backend:
        yield backend


@dataclass
class Attempts:
    """The attempts of one run, with what a worker would find of it in Redis.

    `dies_after` is how many records an attempt lives to write.
    """

    run: RunRequest
    journal: list[bytes] = field(default_factory=list)
    log: list[RunEvent] = field(default_factory=list)
    number: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def recorded(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.journal) >= count)

    async def attempt(self, backend: AgentBackend, dies_after: int | None = None) -> list[RunEvent]:
        """What this attempt said. Raises CancelledError where it dies."""
        self.number += 1
        said: list[RunEvent] = []
        before = len(self.journal)

        async def record(entry: bytes, events: Sequence[RunEvent]) -> None:
            if dies_after is not None and len(self.journal) - before >= dies_after:
                raise asyncio.CancelledError
            async with self._changed:
                self.journal.append(entry)
                said.extend(events)
                self._changed.notify_all()

        context = RunContext(
            no_gate, said.extend, self.number, journal=[*self.journal], recorder=record
        )
        try:
            said.extend(await backend.run(self.run, context))
        finally:
            self.log += said
        return said


def attempts(prompt: str, **fields: Any) -> Attempts:
    return Attempts(request(prompt, **fields))


def of(kind: type[RunEvent], events: Sequence[RunEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
