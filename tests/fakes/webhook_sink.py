"""A real HTTP server that notes what webhooks are told: `async with WebhookSink() as sink`, or
`with beside() as sink` where no loop runs."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import orjson


@dataclass(frozen=True)
class Told:
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)


class WebhookSink:
    """`answer` says which status a request gets, None for no answer at all; at first all get 200.

    `asked` are all requests, `taken` those that got a 2xx. With `endless` its replies have a body
    that never ends.
    """

    endless = False

    def __init__(self, answer: Callable[[Told], int | None] = lambda told: 200) -> None:
        self.answer = answer
        self.asked: list[Told] = []
        self.taken: list[Told] = []
        self.most_at_once = 0
        self._at_once = 0
        self._port = 0
        self._silent: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hooks"

    async def __aenter__(self) -> "WebhookSink":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._silent:
            task.cancel()
        await asyncio.gather(*self._silent, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._silent.add(task)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._reply(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever asked is gone
        finally:
            self._at_once -= 1
            self._silent.discard(task)
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-1])
        }
        body = await reader.readexactly(int(headers["content-length"]))
        told = Told(head[0].split()[1], headers, body)
        self.asked.append(told)
        status = self.answer(told)
        if status is None:
            await reader.read()  # until whoever asked gives up
            return
        if status < 300:
            self.taken.append(told)
        location = "location: /elsewhere\r\n" if 300 <= status < 400 else ""
        length = "" if self.endless else "content-length: 0\r\n"
        writer.write(
            f"HTTP/1.1 {status} Told\r\n{location}{length}connection: close\r\n\r\n".encode()
        )
        await writer.drain()
        while self.endless:
            writer.write(bytes(64 * 1024))
            await writer.drain()


@contextmanager
def beside() -> Iterator[WebhookSink]:
    """A sink on the loop of a thread of its own."""
    loop, sink = asyncio.new_event_loop(), WebhookSink()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(sink.__aenter__(), loop).result()
        yield sink
        asyncio.run_coroutine_threadsafe(sink.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
