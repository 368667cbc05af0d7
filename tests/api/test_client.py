"""A client behind any ASGI server; tests/api/test_connection.py has that of our own."""

import asyncio
from typing import Any

import pytest

from trunkline_api.client import EXTENSION, AsgiClient, client_of


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
