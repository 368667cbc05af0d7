"""A raw client of the WebSocket of /v1/responses: `async with opened(url) as socket`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from tests.patience import PATIENCE_S

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


class Socket:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, text: Any = "hi", *, model: str = "echo", **more: Any) -> None:
        values = {"type": "response.create", "model": model, "input": text, "store": False, **more}
        await self.connection.send(orjson.dumps(values).decode())

    async def event(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            message = await self.connection.recv()
        assert isinstance(message, str)
        value: dict[str, Any] = orjson.loads(message)
        return value

    async def response(self) -> list[dict[str, Any]]:
        """The next events up to one that ends a response, or says that there is none."""
        events = [await self.event()]
        while events[-1]["type"] not in ENDS:
            events.append(await self.event())
        return events

    async def asked(self, text: Any = "hi", **more: Any) -> dict[str, Any]:
        """Creates a response, and gives its last event."""
        await self.create(text, **more)
        return (await self.response())[-1]


@asynccontextmanager
async def opened(url: str, *, path: str = "/v1/responses", **headers: str) -> AsyncIterator[Socket]:
    where = url.replace("http", "ws", 1) + path
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with connect(where, additional_headers=named, max_size=None) as connection:
        yield Socket(connection)


def text_of(event: dict[str, Any]) -> str:
    """What the agent said, by the event that ends a response."""
    parts = [part for item in event["response"]["output"] for part in item.get("content", ())]
    return "".join(part["text"] for part in parts)
