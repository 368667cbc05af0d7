"""A client behind any ASGI server; tests/api/test_connection.py has that of our own."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.fake_gateway import application
from tests.api.uvicorn_server import Serving
from trunkline_api.client import EXTENSION, AsgiClient, client_of
from trunkline_api.errors import Send
from trunkline_api.exchange import Receive, Scope, exchange_of


class Messages:
    """What a server has to say: parts of a body, and then that the client left, when told."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.parts = 2

    async def __call__(self) -> dict[str, Any]:
        if self.parts:
            self.parts -= 1
            return {"type": "http.request", "body": b"x"}
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("extensions", [{}, {"extensions": {}}, {"extensions": {EXTENSION: bool}}])
def test_a_client_that_its_server_does_not_know_is_one_of_asgi(extensions: Any) -> None:
    client = client_of(extensions, Messages())
    assert isinstance(client, AsgiClient) and not client.takes_more


async def test_a_client_that_leaves_is_noticed() -> None:
    messages, left = Messages(), asyncio.Event()
    client = AsgiClient(messages)
    client.on_leaving(left.set)
    messages.gone.set()
    async with asyncio.timeout(20):
        await left.wait()
    await client.forget()


async def test_a_client_that_was_forgotten_may_leave_and_holds_no_task() -> None:
    messages, left = Messages(), asyncio.Event()
    client = AsgiClient(messages)
    await client.forget()
    client.on_leaving(left.set)
    await asyncio.sleep(0)
    await client.forget()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not left.is_set()


class Heads:
    """Begins its reply past ASGI if it may, every other time by `send`."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client, exchange, self.asked = client_of(scope, receive), exchange_of(scope), self.asked + 1
        exchange.request_id, exchange.conversation = "req_x", "conv"
        headers = [(b"content-type", b"text/event-stream")]
        if self.asked % 2 and client.takes_head:
            client.begin(exchange.begin(200, headers), b"hi", last=True)
            assert not client.takes_head and not client.takes_more
        else:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await (exchange.send_body or send)({"type": "http.response.body", "body": b"hi"})


async def test_a_head_is_the_same_whichever_way_it_goes() -> None:
    async with Serving(application(Heads())) as url, httpx.AsyncClient() as http:
        past, sent = [await http.post(f"{url}/v1/chat/completions") for _ in range(2)]
    assert past.content == sent.content == b"hi"
    assert past.status_code == sent.status_code == 200
    undated = [{**reply.headers, "date": ""} for reply in (past, sent)]
    assert undated[0] == undated[1]
    assert {"x-request-id", "x-conversation-id", "transfer-encoding"} <= past.headers.keys()
