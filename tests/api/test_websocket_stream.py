"""What frames server-sent events is taken off, and nothing else; behind any server."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from tests.api.test_websocket_route import app
from trunkline_api.hub import ReaderClosed
from trunkline_api.websocket_stream import Messages, events_of


@pytest.mark.parametrize("lane", [None, "a.b"])
def test_events_are_their_json_with_the_name_of_their_lane(lane: str | None) -> None:
    values = [{"type": "x", "text": "a\n\ndata: b"}, {"type": "y"}]
    blocks = [b"event: x\ndata: " + orjson.dumps(value) + b"\n\n" for value in values]
    told = list(events_of(b": hb\n\n".join(blocks), lane))
    names = {} if lane is None else {"stream_id": lane}
    assert [orjson.loads(event) for event in told] == [{**value, **names} for value in values]


def test_silence_is_no_message() -> None:
    assert list(events_of(b": hb\n\n", "a")) == []


async def talked(*said: dict[str, Any], extensions: Any = (), **settings: Any) -> list[Any]:
    """What a server that is not ours is asked to send, when its client says this and leaves."""
    texts = [{"type": "websocket.receive", "text": orjson.dumps(each).decode()} for each in said]
    heard: list[Any] = [{"type": "websocket.connect"}, *texts]
    sent: list[Any] = []

    async def receive() -> Any:
        while not heard:
            if _ended(sent):
                return {"type": "websocket.disconnect", "code": 1000}
            await asyncio.sleep(0)
        return heard.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/responses", "headers": []}
    await app(**settings).asgi(
        {**scope, "extensions": {name: {} for name in extensions}}, receive, send
    )
    return sent


def _ended(sent: Sequence[Any]) -> bool:
    return "response.completed" in sent[-1].get("text", "")


async def test_any_server_that_speaks_asgi_will_do() -> None:
    accepted, *messages = await talked(
        {"type": "response.create", "model": "echo", "input": "x", "store": False}
    )
    assert accepted["type"] == "websocket.accept"
    assert {message["type"] for message in messages} == {"websocket.send"}
    assert orjson.loads(messages[0]["text"])["type"] == "response.created"


async def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    (closed,) = await talked(api_key=("right",))
    assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
    start, _ = await talked(api_key=("right",), extensions=["websocket.http.response"])
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)


async def test_who_was_sent_away_is_told_nothing_more() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    messages = Messages({}, send)
    await messages.send(b"{}")
    await messages.close(1012, "bye")
    await messages.send(b"{}")
    assert sent == ["websocket.send", "websocket.close"]


async def test_a_client_that_left_is_known_by_what_cannot_be_sent() -> None:
    async def send(message: Any) -> None:
        raise BrokenPipeError

    with pytest.raises(ReaderClosed) as left:
        await Messages({}, send).send(b"{}")
    assert not left.value.shutting_down
