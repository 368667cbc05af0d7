"""Connections on a real socket: clients that do not read, and bytes that are no HTTP."""

import asyncio
import json
import socket
from collections.abc import Callable
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.api.fake_gateway import application
from tests.api.uvicorn_server import Serving
from tests.patience import until
from trunkline_api.client import AsgiClient, Client, client_of
from trunkline_api.connection import DirectClient, connection_factory
from trunkline_api.errors import Send
from trunkline_api.exchange import Exchanges, Receive, Scope

MUCH = 64 * 1024 * 1024  # more than the system buffers for anybody


class MuchToSay:
    """Answers with a long piece of a body, and notes that the client has left."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * MUCH, "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.ended.set()


def _port(url: str) -> int:
    return httpx.URL(url).port or 0


async def _all_that_comes(reader: asyncio.StreamReader) -> int:
    size = 0
    try:
        while piece := await reader.read(1 << 20):
            size += len(piece)
    except ConnectionResetError:
        pass
    return size


async def test_a_client_that_reads_nothing_is_let_go_whatever_the_reply_is() -> None:
    chat = MuchToSay()
    app = application(chat, write_timeout_s=0.2)
    async with Serving(app) as url:
        with socket.create_connection(("127.0.0.1", _port(url))) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n")
            async with asyncio.timeout(20):
                await chat.ended.wait()
            client.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=client.dup())
            async with asyncio.timeout(20):
                assert await _all_that_comes(reader) < MUCH
            writer.close()


class Straight:
    """Says what it is told to, past ASGI once the headers are out, and notes who leaves."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        client = client_of(scope, receive)
        self.clients.append(client)
        client.on_leaving(self.left.set)
        assert not client.takes_more
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while piece := await self.said.get():
            if client.takes_more:
                client.write(piece)
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await client.forget()
        await send({"type": "http.response.body", "body": b""})


POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


async def test_pieces_written_past_asgi_are_one_body_with_what_is_sent() -> None:
    chat = Straight()
    async with Serving(application(chat)) as url, httpx.AsyncClient() as http:
        for _ in range(2):  # on one connection
            for piece in (b"a", b"b" * 100_000, b"c", b""):
                chat.said.put_nowait(piece)
            reply = await http.post(f"{url}/v1/chat/completions", content=b"x" * 100_000)
            assert reply.content == b"firsta" + b"b" * 100_000 + b"c"
        assert {type(client) for client in chat.clients} == {DirectClient}
        assert not chat.left.is_set()


async def test_a_full_socket_takes_no_more_until_it_is_read() -> None:
    chat = Straight()
    async with Serving(application(chat)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        writer.write(POST)
        async with asyncio.timeout(20):
            await reader.readuntil(b"first\r\n")
            assert chat.clients[0].takes_more
            chat.said.put_nowait(b"x" * MUCH)
            await until(lambda: not chat.clients[0].takes_more)
            await reader.readexactly(len(b"4000000\r\n") + MUCH)
            await until(lambda: chat.clients[0].takes_more)
        chat.said.put_nowait(b"")
        writer.close()


@pytest.mark.parametrize(
    "body", [b"{}", b"x" * 200_000], ids=["small", "more than is read at once"]
)
async def test_a_client_that_leaves_is_noticed_without_a_task(body: bytes) -> None:
    chat = Straight()
    async with Serving(application(chat)) as url:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        writer.write(head % len(body) + body)
        await until(lambda: chat.clients)
        tasks = {task.get_name() for task in asyncio.all_tasks()}
        assert "disconnect" not in tasks
        writer.close()
        async with asyncio.timeout(20):
            await chat.left.wait()
        assert not chat.clients[0].takes_more
        chat.said.put_nowait(b"")


class Bodies:
    """Answers a body that has arrived, else says that it has not and answers what it receives."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = client_of(scope, receive).body()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if body is None:
            await send({"type": "http.response.body", "body": b"not here", "more_body": True})
            body = (await receive())["body"]
        await send({"type": "http.response.body", "body": b"<" + body + b">"})


async def test_a_body_that_has_arrived_is_had_without_receiving_it() -> None:
    async with Serving(application(Bodies())) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
        async with asyncio.timeout(20):
            for _ in range(2):
                writer.write(head + b"body")
                assert b"not here" not in await reader.readuntil(b"<body>\r\n0\r\n\r\n")
            writer.write(head)
            await reader.readuntil(b"not here\r\n")
            writer.write(b"late")
            await reader.readuntil(b"<late>\r\n0\r\n\r\n")
        writer.close()


async def test_requests_that_come_before_their_turn_are_answered_as_asgi_has_it() -> None:
    chat = Straight()
    async with Serving(application(chat)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        writer.write(2 * POST)
        for piece in (b"a", b"", b"b", b""):
            chat.said.put_nowait(piece)
        async with asyncio.timeout(20):
            for piece in (b"a", b"b"):
                await reader.readuntil(b"first\r\n1\r\n" + piece + b"\r\n0\r\n\r\n")
        assert isinstance(chat.clients[0], AsgiClient)
        writer.close()


async def test_a_head_leaves_with_the_piece_after_it_or_when_none_comes_at_once() -> None:
    """Each write would be a system call of its own."""
    chat, transport = Straight(), Mock()
    transport.is_closing.return_value = False
    transport.get_write_buffer_size.return_value = 0
    config = uvicorn.Config(Exchanges(chat), log_config=None)
    made = connection_factory(60)(config, ServerState(), {})
    made.connection_made(transport)
    made.data_received(POST)
    await until(lambda: transport.write.called)
    ((written,),) = [call.args for call in transport.write.call_args_list]
    assert written.startswith(b"HTTP/1.1 200 ") and written.endswith(b"\r\n\r\n5\r\nfirst\r\n")
    chat.said.put_nowait(b"")
    await until(lambda: transport.write.call_count == 2)
    assert transport.write.call_args.args == (b"0\r\n\r\n",)
    made.connection_lost(None)


class Pace:
    """A loop whose timers go off when told."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, _: float, callback: Callable[[], None]) -> Mock:
        self.due.append(callback)
        return Mock()

    def pass_by(self) -> None:
        self.due.pop()()


def test_a_client_that_reads_slowly_is_kept() -> None:
    pace, transport = Pace(), Mock()
    config = uvicorn.Config(Mock(), log_config=None)
    made = connection_factory(60)(config, ServerState(), {}, _loop=pace)
    transport.get_write_buffer_size.return_value = 0
    made.connection_made(transport)
    made._head = None  # its request is here
    for waiting in (0, 900, 800, 1700, 1600, 0, 0, 500):
        transport.get_write_buffer_size.return_value = waiting
        pace.pass_by()
    transport.abort.assert_not_called()
    pace.pass_by()
    transport.abort.assert_called_once_with()


@pytest.mark.parametrize("head", [b"x-many: " + 100_000 * b"a", 50_000 * b"a: b\r\n"])
async def test_a_head_without_end_is_refused(head: bytes) -> None:
    async with Serving(application(MuchToSay())) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        writer.write(b"GET /v1/models HTTP/1.1\r\n" + head)
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_large_bodies_one_after_the_other_are_no_large_head() -> None:
    request = b"POST /nope HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + 100_000 * b"x"
    async with Serving(application(MuchToSay())) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        for _ in range(3):
            writer.write(request)
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 404 ")
        writer.close()


async def test_what_is_no_http_is_refused_in_the_envelope() -> None:
    async with Serving(application(MuchToSay())) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        async with asyncio.timeout(20):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nx-request-id: req_" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("sent", [b"", b"GET /ali"], ids=["nothing", "half a head"])
async def test_a_client_that_sends_no_whole_head_is_let_go(sent: bytes) -> None:
    async with Serving(application(write_timeout_s=0.2)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        writer.write(sent)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_a_client_that_waits_between_requests_is_kept() -> None:
    head = b"GET /alive HTTP/1.1\r\nhost: x\r\n\r\n"
    async with Serving(application(write_timeout_s=0.1)) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(url))
        for _ in range(2):
            writer.write(head)
            async with asyncio.timeout(20):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                await reader.readuntil(b'{"status":"ok"}')
            await asyncio.sleep(0.5)  # longer than four looks
        writer.close()
