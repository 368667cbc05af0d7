import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.fake_gateway import CONFIG
from tests.api.fake_log import FakeLog
from trunkline_api.client import AsgiClient
from trunkline_api.follow import Follow
from trunkline_api.gateway import Shutdown
from trunkline_api.hub import Reader, ReaderClosed
from trunkline_api.submission import Admission
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import Finished
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunId, RunRequest

REQUEST = RunRequest(RunId("r"), "echo")
ADMISSION = Admission(CONFIG.agents["echo"])


class FakeHub:
    def __init__(self) -> None:
        self.readers: dict[str, Reader] = {}

    def register(self, run_id: RunId) -> Reader:
        self.readers[run_id] = Reader(run_id, 1000)
        return self.readers[run_id]

    def release(self, reader: Reader, *, over: bool = False) -> None:
        reader.discard()
        del self.readers[reader.run_id]


class FakeRuns:
    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        self.trouble: BaseException | None = None
        self.hang = False
        self.cancelled: list[str] = []
        self.spared: list[str] = []  # those of them that go on if others read them

    async def submit(self, request: RunRequest, admission: Admission) -> None:
        assert request.run_id in self.hub.readers, "a frame could come before its reader"
        if self.hang:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble

    def cancel_soon(self, run_id: str, *, if_unread: bool = False) -> None:
        self.cancelled.append(run_id)
        if if_unread:
            self.spared.append(run_id)


class Bench:
    def __init__(self) -> None:
        self.hub = FakeHub()
        self.runs = FakeRuns(self.hub)
        self.log = FakeLog()
        self.shutdown = Shutdown()
        self.left = asyncio.Event()
        self.follow = Follow(
            self.runs,  # type: ignore[arg-type]
            self.hub,  # type: ignore[arg-type]
            self.log,  # type: ignore[arg-type]
            Keys(),
            reply="back",
            shutdown=self.shutdown,
        )

    @property
    def client(self) -> AsgiClient:
        return AsgiClient(self.receive)

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    def push_end(self) -> None:
        self.hub.readers["r"].push(*self.log.add(2, Finished("stop")))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    assert bench.hub.readers == {}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_run_that_was_followed_to_its_end_is_not_cancelled(bench: Bench) -> None:
    async with bench.follow.run(REQUEST, ADMISSION, bench.client) as relay:
        bench.push_end()
        await relay.next(10)
        assert relay.ended
    assert bench.runs.cancelled == []


@pytest.mark.parametrize("is_closing", [False, True])
async def test_leaving_before_the_end_cancels_the_run(bench: Bench, is_closing: bool) -> None:
    async with bench.follow.run(REQUEST, ADMISSION, bench.client):
        if is_closing:
            bench.shutdown.closing.set()
    assert bench.runs.cancelled == ["r"]
    assert bench.runs.spared == (["r"] if is_closing else [])


async def test_a_client_that_leaves_wakes_the_relay_and_cancels_the_run(bench: Bench) -> None:
    with pytest.raises(ReaderClosed):
        async with bench.follow.run(REQUEST, ADMISSION, bench.client) as relay:
            asyncio.get_running_loop().call_soon(bench.left.set)
            await relay.next(20)
    assert bench.runs.cancelled == ["r"]


async def test_a_disconnect_while_the_process_drains_is_no_client_that_left(bench: Bench) -> None:
    bench.shutdown.draining.set()
    bench.left.set()
    async with bench.follow.run(REQUEST, ADMISSION, bench.client) as relay:
        assert await relay.next(0.05) is None
        bench.push_end()
        await relay.next(10)
    assert bench.runs.cancelled == []


@pytest.mark.parametrize("trouble", [Refused("queue_full", "x", 1.0), RedisUnavailable("x")])
async def test_a_run_that_was_not_admitted_leaves_no_reader(
    bench: Bench, trouble: Exception
) -> None:
    bench.runs.trouble = trouble
    with pytest.raises(type(trouble)):
        async with bench.follow.run(REQUEST, ADMISSION, bench.client):
            raise AssertionError("nothing to follow")
    assert bench.runs.cancelled == []


async def test_a_submit_cut_off_in_the_middle_is_cancelled_for_it_may_have_arrived(
    bench: Bench,
) -> None:
    bench.runs.hang = True

    async def follow() -> None:
        async with bench.follow.run(REQUEST, ADMISSION, bench.client):
            raise AssertionError("nothing to follow")

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.runs.cancelled == ["r"]
