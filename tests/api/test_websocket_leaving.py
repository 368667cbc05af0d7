"""Clients of a WebSocket that leave at every tick of the loop: nothing of theirs stays behind."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.api.fake_answer import FakeFollow
from tests.api.test_websocket_route import SAID, app
from tests.patience import PATIENCE_S
from trunkline_shared.events import Attempt, TextDelta

CREATE = {"type": "response.create", "model": "echo", "input": "x", "store": False}
SLOW = [[Attempt(1), TextDelta("a")], None, *SAID]


async def left_after(ticks: int, follow: FakeFollow) -> None:
    texts = [orjson.dumps({**CREATE, "stream_id": lane}).decode() for lane in ("a", "a", "b")]
    heard: list[Any] = [{"type": "websocket.connect"}]
    heard += [{"type": "websocket.receive", "text": text} for text in texts]

    async def receive() -> Any:
        if heard:
            return heard.pop(0)
        for _ in range(ticks):
            await asyncio.sleep(0)
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)

    scope = {"type": "websocket", "path": "/v1/responses", "headers": [], "extensions": {}}
    async with asyncio.timeout(PATIENCE_S):
        await app(follow=follow).asgi(scope, receive, send)


@pytest.mark.parametrize("ticks", range(40))
async def test_whenever_a_client_leaves_its_runs_are_left_and_its_tasks_end(ticks: int) -> None:
    follow = FakeFollow(SLOW, None)
    await left_after(ticks, follow)
    assert len(follow.left_early) == len(follow.asked)
    assert asyncio.all_tasks() == {asyncio.current_task()}
