"""Which message of a WebSocket has its turn when."""

import asyncio

import pytest

from trunkline_api.errors import ApiError
from trunkline_api.websocket_lanes import NAMED_LANES, Lanes
from trunkline_api.wire.websocket import ClientEvent


class Answers:
    """Answers a message when it is told to, by the message's body."""

    def __init__(self, *, at_once: int = 16, max_bytes: int = 1000) -> None:
        self.lanes = Lanes(self._respond, at_once=at_once, max_bytes=max_bytes)
        self.begun: list[str] = []
        self._go: dict[str, asyncio.Event] = {}

    async def offer(self, name: str, lane: str | None = None) -> None:
        self._go[name] = asyncio.Event()
        self.lanes.offer(ClientEvent("response.create", lane, name.encode()))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        self._go[name].set()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _respond(self, event: ClientEvent) -> None:
        name = event.body.decode()
        self.begun.append(name)
        await self._go[name].wait()


async def test_messages_of_one_lane_have_their_turn_one_after_the_other() -> None:
    answers = Answers()
    for name in ("1", "2", "3"):
        await answers.offer(name)
    assert answers.begun == ["1"]
    await answers.end("1")
    assert answers.begun == ["1", "2"]
    await answers.lanes.aclose()


async def test_lanes_do_not_wait_for_each_other_until_so_many_are_busy() -> None:
    answers = Answers(at_once=2)
    for number, lane in enumerate(["a", "a", "b", None]):
        await answers.offer(str(number), lane)
    assert answers.begun == ["0", "2"]
    await answers.end("2")
    assert answers.begun == ["0", "2", "3"]
    await answers.end("0")
    assert answers.begun == ["0", "2", "3", "1"]
    await answers.lanes.aclose()


async def test_there_are_only_so_many_names() -> None:
    answers = Answers(at_once=100)
    for number in range(NAMED_LANES):
        await answers.offer("x", f"lane-{number}")
    with pytest.raises(ApiError) as refused:
        await answers.offer("x", "one more")
    assert refused.value.code == "websocket_stream_limit_reached"
    await answers.offer("x", "lane-0")
    await answers.offer("x")
    await answers.lanes.aclose()


async def test_what_waits_is_bounded_in_number_and_in_bytes() -> None:
    answers = Answers(max_bytes=10)
    await answers.offer("a" * 10)  # has its turn at once
    await answers.offer("b" * 6)
    with pytest.raises(ApiError) as refused:
        await answers.offer("c" * 5)
    assert (refused.value.status, refused.value.code) == (429, "websocket_queue_full")
    await answers.lanes.aclose()
    many = Answers()
    with pytest.raises(ApiError) as refused:
        for _ in range(100):
            await many.offer("d")
    assert refused.value.code == "websocket_queue_full"
    await many.lanes.aclose()


async def test_what_is_given_up_never_has_its_turn() -> None:
    answers = Answers()
    await answers.offer("1")
    await answers.offer("2", "other")
    await answers.offer("3")
    assert [event.body for event in answers.lanes.give_up()] == [b"3"]
    idle = asyncio.create_task(answers.lanes.idle())
    await answers.end("1")
    assert not idle.done()
    await answers.end("2")
    await idle
    assert answers.begun == ["1", "2"]
