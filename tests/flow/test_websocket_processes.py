"""WebSockets while the processes behind them end."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.websocket_client import Socket, opened, text_of
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.redis
SLOW = "slow-60x20"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("websockets")
    agents = {model: upstream_agent(model) for model in (SLOW, "slow-1000x20", "words-100000")}
    with System(directory, {"agents": agents}, apis=3, workers=2) as system:
        yield system


async def shown(socket: Socket, lane: str | None = None) -> list[dict[str, Any]]:
    """The events up to the lane's first words."""
    awaited = ("response.output_text.delta", lane)
    events = [await socket.event()]
    while (events[-1]["type"], events[-1].get("stream_id")) != awaited:
        events.append(await socket.event())
    return events


async def test_a_response_is_known_to_all_processes_and_followed_at_another(
    system: System,
) -> None:
    async with opened(system.url(0)) as here, opened(system.url(1)) as there:
        await here.create("go", model=SLOW, store=True)
        told = await shown(here)
        response = told[0]["response"]["id"]
        url = f"{system.base_url(1)}/responses/{response}?stream=true"
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            again = (await http.get(url)).text
        told += await here.response()
        blocks = again.split("\n\n")[:-1]
        assert [orjson.loads(block.split("\ndata: ")[1]) for block in blocks] == told
        await there.create("and", model=SLOW, previous_response_id=response)
        assert text_of((await there.response())[-1]) == words(60)


async def test_when_workers_die_their_responses_go_on_with_new_items(system: System) -> None:
    async with opened(system.url(0)) as socket:
        for lane in ("a", "b"):
            await socket.create("go", model=SLOW, stream_id=lane)
            await shown(socket, lane)
        for index in range(2):
            system.kill_worker(index)
            system.start_worker()
        ends = [(await socket.response())[-1] for _ in range(2)]
    assert {end["type"] for end in ends} == {"response.completed"}
    assert {end["stream_id"] for end in ends} == {"a", "b"}
    assert all(text_of(end).endswith(words(60)) for end in ends)
    assert all(end["response"]["output"][0]["status"] == "incomplete" for end in ends)


async def test_a_client_that_reads_slowly_holds_up_nobody_and_loses_nothing(
    system: System,
) -> None:
    async with opened(system.url(0)) as slow, opened(system.url(0)) as quick:
        slow.connection.transport.pause_reading()
        await slow.create("go", model="words-100000")
        await quick.create("go", model=SLOW)
        assert (await quick.response())[-1]["type"] == "response.completed"
        slow.connection.transport.resume_reading()
        events = await slow.response()
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == text_of(events[-1]) == words(100_000)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize(
    ("api", "model", "end"), [(1, SLOW, "completed"), (2, "slow-1000x20", "failed")]
)
async def test_a_process_that_shuts_down_ends_its_responses_and_then_its_sockets(
    system: System, api: int, model: str, end: str
) -> None:
    async with opened(system.url(api)) as socket:
        await socket.create("go", model=model)
        await shown(socket)
        if end == "completed":
            while (await socket.event())["sequence_number"] < 40:
                pass
        system.kill_api(api, signal.SIGTERM)
        last = (await socket.response())[-1]
        assert last["type"] == f"response.{end}"
        async with asyncio.timeout(PATIENCE_S):
            await socket.connection.wait_closed()
        assert socket.connection.close_code == 1012
    if end == "failed":
        await until(lambda: model in [closed["model"] for closed in system.upstream.closed()])
