"""A server that answers each request with the bytes it is told, over asyncio's loop or uvloop."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from trunkline_worker.backends.http_client import HttpClient, origin_of, post_head
from trunkline_worker.backends.http_connection import CallError, Connection
from trunkline_worker.backends.resolver import Resolver

CLOSE = b"CLOSE"
"""In an answer: the connection is closed here."""


class RawServer:
    """`answers`: the parts of each answer, written a tick apart; the last one is repeated."""

    def __init__(self, *answers: list[bytes]) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections: list[_Serving] = []
        self.base_url = ""

    def answer(self) -> list[bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def open(self) -> int:
        return sum(not connection.lost for connection in self.connections)


class _Serving(asyncio.Protocol):
    def __init__(self, server: RawServer) -> None:
        self._server = server
        self._received = b""
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.connections.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= int(head.rpartition(b"Content-Length: ")[2]):
            self._server.requests.append(self._received)
            self._received = b""
            task = asyncio.create_task(self._write(self._server.answer()), name="answer")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _write(self, parts: list[bytes]) -> None:
        for part in parts:
            if part == CLOSE:
                self.transport.close()
                return
            self.transport.write(part)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    *answers: list[bytes], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    raw = RawServer(*answers)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Serving(raw), "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    raw.base_url = f"https://localhost:{port}/v1" if tls else f"http://127.0.0.1:{port}/v1"
    try:
        yield raw
    finally:
        server.close()
        for connection in raw.connections:
            connection.transport.abort()
        await asyncio.sleep(0.01)  # sockets close in the turns that follow


class Heard:
    """A caller that keeps what it hears."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self.text = b""
        self.parts = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        self.status, self.headers = status, headers

    def body(self, data: bytes, whole: bool) -> None:
        self.text += data
        self.parts += 1
        if whole:
            self.ended.set_result(None)

    def failed(self, error: CallError) -> None:
        self.ended.set_exception(error)


class Client:
    """Posts a word, over the kept connection if there is one. Raises CallError."""

    def __init__(self, raw: RawServer, resolver: Resolver | None = None) -> None:
        self.http = HttpClient(resolver)
        self.origin = origin_of(raw.base_url)
        self.base_url = raw.base_url

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    async def connection(self) -> Connection:
        kept = self.http.take(self.origin)
        return kept or await self.http.connect(self.origin, 5)

    async def post(self, *, patience_s: float = 5.0, **headers: Any) -> Heard:
        heard = Heard()
        request = post_head(self.base_url, "/x", headers) + b"2\r\n\r\nhi"
        (await self.connection()).call(heard, request, patience_s)
        async with asyncio.timeout(10):
            await heard.ended
        return heard
