"""A dispatch over an imitation of Redis: a lease that does what it is told, a scripted backend."""

import asyncio
from typing import Any

from tests.contract.script_bed import PREFIX, Bed
from tests.fakes.memory_redis import MemoryRedis
from tests.patience import PATIENCE_S
from tests.worker.fake_run import ScriptedBackend
from trunkline_shared.pipe import Pipe
from trunkline_shared.vault import Vault
from trunkline_worker.dispatch import Dispatch
from trunkline_worker.lease import Renewal
from trunkline_worker.memory import Memory
from trunkline_worker.publish import Publisher
from trunkline_worker.settings import WorkerSettings


class FakeLease:
    def __init__(self) -> None:
        self.valid = True

    async def gate(self) -> None:
        """Always open."""


class DispatchBench:
    """`async with`: a worker named `w` that serves `agent` with this backend."""

    def __init__(self, backend: ScriptedBackend, **settings: Any) -> None:
        self.bed = Bed(MemoryRedis())
        self.backend = backend
        self.calls, self.frames, self.waits = (
            Pipe(self.bed.redis, self.bed.scripts, timeout_s=5.0, name=name)
            for name in ("calls", "frames", "waits")
        )
        self.dispatch = Dispatch(
            WorkerSettings(prefix=PREFIX, **{"slots": 2} | settings),
            self.bed.keys,
            worker_id="w",
            calls=self.calls,
            waits=self.waits,
            backends=backend,
            memory=Memory(self.calls, self.bed.keys, Vault(None)),
        )
        self.lease = FakeLease()
        self.dispatch.lease = self.lease  # type: ignore[assignment]
        self.dispatch.publisher = self.publisher = Publisher(
            self.frames,
            max_run_bytes=20_000,
            allowed=lambda: self.lease.valid,
            on_lost=self.dispatch.lost,
        )
        self.task: asyncio.Task[None]

    async def __aenter__(self) -> "DispatchBench":
        for pipe in (self.calls, self.frames, self.waits):
            await pipe.start()
            await pipe.connected()
        await self.bed.renew()
        await self.publisher.start()
        self.task = asyncio.create_task(self.dispatch.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        for execution in [*self.dispatch.executions.values()]:
            execution.drop()
        async with asyncio.timeout(PATIENCE_S):
            await self.dispatch.drain(0)
            await self.task
        await self.publisher.aclose()
        for pipe in (self.calls, self.frames, self.waits):
            await pipe.aclose()
        await self.bed.redis.aclose()

    @property
    def running(self) -> list[str]:
        return [*self.dispatch.executions]

    async def outcome(self, run_id: str) -> str:
        """How the run ended."""
        async with asyncio.timeout(PATIENCE_S):
            while "out" not in (state := await self.bed.state(run_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return state["out"]

    async def renew(self, **told: Any) -> None:
        """A renewal that told this."""
        values: dict[str, Any] = {"cancels": (), "held": None, "lost": frozenset()}
        self.dispatch.renewed(Renewal(**values | told))
