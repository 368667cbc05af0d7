"""When a backend of the agent lane is made, and when it goes."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.worker.backends.driving import no_gate, request
from trunkline_shared.events import Finished, RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Backend, RunContext, Unavailable
from trunkline_worker.backends.lane import LaneBackend


class Held:
    """Runs until `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.closed = 0

    async def open(self) -> None: ...

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        self.begun.set()
        await self.go.wait()
        return [Finished("stop")]

    async def aclose(self) -> None:
        self.closed += 1


def context() -> RunContext:
    return RunContext(no_gate, lambda _: None)


async def test_it_is_made_once_by_whoever_comes_first() -> None:
    held, made = Held(), 0

    async def make() -> Backend:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        return held

    lane = LaneBackend(make)
    held.go.set()
    await asyncio.gather(
        lane.run(request(), context()), lane.open(), lane.run(request(), context())
    )
    assert made == 1
    await lane.aclose()
    assert held.closed == 1


async def test_a_retired_one_closes_after_its_last_run() -> None:
    held = Held()

    async def make() -> Backend:
        return held

    lane = LaneBackend(make)
    run = asyncio.create_task(lane.run(request(), context()), name="run")
    await held.begun.wait()
    await lane.retire()
    assert not held.closed
    held.go.set()
    assert await run == [Finished("stop")]
    assert held.closed == 1


async def test_one_that_cannot_be_made_says_why() -> None:
    async def make() -> Backend:
        raise ValueError("no such provider")

    lane = LaneBackend(make)
    with pytest.raises(ValueError, match="no such provider"):
        await lane.open()
    with pytest.raises(Unavailable, match="no such provider"):
        await lane.run(request(), context())
