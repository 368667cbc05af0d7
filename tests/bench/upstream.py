"""A fake OpenAI chat upstream that costs next to nothing, so that it does not drown what it feeds.

The model's name says what it streams: `burst-N` N tokens at once, `paced-N-R` N tokens at R a
second, `sleep-S` one token after S seconds. Every event is an HTTP chunk of its own, as a real
server sends it. Token i of a paced stream is ` w<i>@<CLOCK_MONOTONIC in ns, hex>`, the time at
which it was written: every process of the machine can tell how long it was on the way.

`GET /stats` answers with the number of open streams. Run as a process it prints its port.
"""

import asyncio
import gc
import re
import time
from functools import lru_cache
from typing import cast

import httptools
import orjson
import uvloop

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_EVENT = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":%d,'
    b'"total_tokens":%d}}\n\n'
)
_MODEL = re.compile(rb'"model"\s*:\s*"(burst|paced|sleep)-(\d+)(?:-(\d+))?"')
_WANTS_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_TICK_S = 0.001


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _token(text: bytes) -> bytes:
    return _chunk(_EVENT % (b'{"content":" %s"}' % text, b"null"))


_OPENING = _HEAD + _chunk(_EVENT % (b'{"role":"assistant","content":""}', b"null"))


@lru_cache
def _closing(tokens: int, usage: bool) -> bytes:
    end = _chunk(_EVENT % (b"{}", b'"stop"'))
    if usage:
        end += _chunk(_USAGE % (tokens, 20 + tokens))
    return end + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@lru_cache
def _burst(tokens: int, usage: bool) -> bytes:
    words = b"".join(_token(b"w%d" % i) for i in range(tokens))
    return _OPENING + words + _closing(tokens, usage)


class _Stream:
    """A paced answer: one token each time the wheel comes round."""

    __slots__ = ("due", "period", "sent", "server", "tokens", "usage")

    def __init__(self, server: "_Server", tokens: int, rate: int, usage: bool) -> None:
        self.server = server
        self.tokens = tokens
        self.period = 1 / rate
        self.usage = usage
        self.sent = 0
        self.due = time.monotonic()

    def step(self) -> bool:
        """Send the next token; False when there is none to come."""
        transport = self.server.transport
        if transport is None:
            return False
        transport.write(_token(b"w%d@%x" % (self.sent, time.monotonic_ns())))
        self.sent += 1
        self.due += self.period
        if self.sent < self.tokens:
            return True
        self.server.close_stream(_closing(self.tokens, self.usage))
        return False


class _Wheel:
    """One timer for all paced streams; one that is late still sends its tokens one by one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, list[_Stream]] = {}
        self._now = 0
        self._running = False

    def add(self, stream: _Stream) -> None:
        if not self._running:
            self._running = True
            self._now = int(time.monotonic() / _TICK_S)
            self._loop.call_later(_TICK_S, self._turn)
        slot = max(int(stream.due / _TICK_S), self._now + 1)
        self._slots.setdefault(slot, []).append(stream)

    def _turn(self) -> None:
        until = int(time.monotonic() / _TICK_S)
        due = [s for slot in range(self._now, until + 1) for s in self._slots.pop(slot, ())]
        self._now = until
        for stream in due:
            if stream.step():
                self.add(stream)
        self._running = bool(self._slots)
        if self._running:
            self._loop.call_later(_TICK_S, self._turn)


class _Stats:
    """What `GET /stats` answers."""

    def __init__(self) -> None:
        self.streams = 0
        self.requests = 0


class _Server(asyncio.Protocol):
    def __init__(self, wheel: _Wheel, stats: _Stats) -> None:
        self.transport: asyncio.Transport | None = None
        self._wheel = wheel
        self._stats = stats
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""
        self._streaming = False
        self._sleep: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._streaming:
            self._streaming = False
            self._stats.streams -= 1
        if self._sleep is not None:
            self._sleep.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._url == b"/stats":
            self._answer(b"200 OK", orjson.dumps(vars(self._stats)))
            return
        body = b"".join(self._body)
        model = _MODEL.search(body)
        if model is None:
            error = {"message": "no such model", "type": "invalid_request_error"}
            self._answer(b"404 Not Found", orjson.dumps({"error": error}))
            return
        self._streaming = True
        self._stats.streams += 1
        self._stats.requests += 1
        kind, first, second = model.groups()
        self._stream(kind, int(first), int(second or 1), bool(_WANTS_USAGE.search(body)))

    def close_stream(self, rest: bytes) -> None:
        self._streaming = False
        self._stats.streams -= 1
        assert self.transport is not None
        self.transport.write(rest)

    def _stream(self, kind: bytes, number: int, rate: int, usage: bool) -> None:
        assert self.transport is not None
        if kind == b"burst":
            self.close_stream(_burst(number, usage))
        elif kind == b"paced":
            self.transport.write(_OPENING)
            self._wheel.add(_Stream(self, number, rate, usage))
        else:
            self.transport.write(_OPENING)
            rest = _token(b"w0") + _closing(1, usage)
            loop = asyncio.get_running_loop()
            self._sleep = loop.call_later(number, self.close_stream, rest)

    def _answer(self, status: bytes, body: bytes) -> None:
        assert self.transport is not None
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    wheel, stats = _Wheel(loop), _Stats()
    listener = await loop.create_server(lambda: _Server(wheel, stats), "127.0.0.1", 0, backlog=4096)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles worth a pause of all streams
    uvloop.run(_main())
