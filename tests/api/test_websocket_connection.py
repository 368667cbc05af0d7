"""Connections that become WebSockets, on a real socket: bytes that are none, clients that hang."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.api.fake_gateway import application
from tests.api.uvicorn_server import Serving
from tests.patience import PATIENCE_S
from trunkline_api.errors import Send
from trunkline_api.exchange import Receive, Scope
from trunkline_api.websocket_stream import Messages

HEAD = (
    "GET /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-version: 13\r\n"
)
KEY = "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
MUCH = 64 * 1024 * 1024  # more than the system buffers for anybody


class Talker:
    """Says `size` bytes, again and again if `twice`, and then what it hears."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "headers": []})
        messages = Messages(scope, send)
        try:
            if self.size:
                await messages.send(b"x" * self.size)
                await messages.send(b"more")  # waits until that was taken
            while (message := await receive())["type"] != "websocket.disconnect":
                await messages.send(message["text"].encode())
        finally:
            self.ended.set()


@asynccontextmanager
async def dialled(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
    finally:
        writer.close()


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


@asynccontextmanager
async def serving(talker: Talker, **settings: Any) -> AsyncIterator[str]:
    async with Serving(application(websocket=talker, **settings)) as url:
        yield url


async def test_a_connection_becomes_a_websocket_after_it_served_requests() -> None:
    async with (
        serving(Talker()) as url,
        dialled(url) as (reader, writer),
    ):
        writer.write(b"GET /alive HTTP/1.1\r\nhost: x\r\n\r\n")
        assert " 200 " in await head_of(reader)
        writer.write((HEAD + KEY + "\r\n").encode())
        while " 101 " not in await head_of(reader):
            pass
        writer.write(b"\x81\x82\0\0\0\0hi")
        assert await reader.readexactly(4) == b"\x81\x02hi"


async def test_a_request_that_offers_another_protocol_is_answered_as_it_is() -> None:
    async with serving(Talker()) as url, dialled(url) as (reader, writer):
        offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
        writer.write(b"GET /alive HTTP/1.1\r\nhost: x\r\n" + offer + b"\r\n")
        assert " 200 " in await head_of(reader)


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        HEAD.replace("13", "12") + KEY,
        HEAD.replace("GET", "POST") + KEY,
        HEAD + KEY + f"cookie: {'x' * 10_000}\r\n",
    ],
    ids=["no key", "an old version", "no GET", "a long header"],
)
async def test_what_is_no_handshake_is_refused_in_the_envelope(head: str) -> None:
    async with serving(Talker()) as url, dialled(url) as (reader, writer):
        writer.write((head + "\r\n").encode())
        answer = await head_of(reader)
        assert " 400 " in answer
        assert "x-request-id: req_" in answer
        (error,) = json.loads(await reader.read()).values()
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["code"] == "invalid_handshake"


async def test_a_client_that_reads_nothing_is_let_go() -> None:
    talker = Talker(MUCH)
    async with (
        serving(talker, write_timeout_s=0.2) as url,
        dialled(url) as (_, writer),
    ):
        writer.write((HEAD + KEY + "\r\n").encode())
        await talker.ended.wait()


async def test_a_client_that_answers_no_ping_is_let_go() -> None:
    talker = Talker()
    async with (
        serving(talker, websocket_ping_s=0.05, write_timeout_s=0.2) as url,
        dialled(url) as (reader, writer),
    ):
        writer.write((HEAD + KEY + "\r\n").encode())
        await head_of(reader)
        ping = await reader.readexactly(6)
        assert ping[0] == 0x89
        await talker.ended.wait()
        assert b"keepalive" in await reader.read()


async def test_a_client_that_lives_stays_and_its_own_pings_are_answered() -> None:
    async with (
        serving(Talker(), websocket_ping_s=0.02, write_timeout_s=0.2) as url,
        connect(url.replace("http", "ws", 1)) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        for _ in range(10):
            await (await client.ping())
        await client.send("still here")
        assert await client.recv() == "still here"


async def test_no_compression_is_agreed_on() -> None:
    async with serving(Talker()) as url, connect(url.replace("http", "ws", 1)) as client:
        assert client.protocol.extensions == []


async def test_others_have_their_turn_while_a_client_floods_its_socket() -> None:
    async with serving(Talker()) as url, dialled(url) as (reader, writer):
        writer.write((HEAD + KEY + "\r\n").encode())
        await head_of(reader)
        flood = b"\x8a\x80\0\0\0\0" * 30_000 + b"\x81\x82\0\0\0\0hi"
        writer.write(flood)
        answer = asyncio.create_task(reader.readexactly(4))
        turns = 0
        while not answer.done():
            await asyncio.sleep(0)
            turns += 1
        assert answer.result() == b"\x81\x02hi"
        assert turns > len(flood) / 4096


async def test_a_message_of_too_many_fragments_ends_the_socket() -> None:
    async with serving(Talker()) as url, dialled(url) as (reader, writer):
        writer.write((HEAD + KEY + "\r\n").encode())
        await head_of(reader)
        writer.write(b"\x01\x80\0\0\0\0" + b"\0\x80\0\0\0\0" * 20_000)
        close = await reader.readexactly(4)
        assert (close[0], int.from_bytes(close[2:])) == (0x88, 1008)
