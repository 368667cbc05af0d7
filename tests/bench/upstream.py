"""A fake OpenAI chat upstream that costs next to nothing, so that it does not drown what it feeds.

The model's name says what it answers with (`model.py`), as a stream if the body says `stream`
true, else as one JSON object. Every event is an HTTP chunk of its own, as a real server sends it.
Token i of a paced stream is ` w<i>@<CLOCK_MONOTONIC in ns, hex>`, the time at which it was
written: every process of the machine can tell how long it was on the way.

`GET /stats` answers with `requests` so far, `streams` open now, and how many of these are
`holding`: all their tokens are written, but not their end. Run as a process it prints its port.
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

from tests.bench.model import Model, parse_model

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_JSON = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_EVENT = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"bench","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":%d,'
    b'"total_tokens":%d}}\n\n'
)
_WHOLE = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"%s"},'
    b'"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":20,"completion_tokens":%d,"total_tokens":%d}}'
)
_MODEL = re.compile(rb'"model"\s*:\s*"([\w-]+)"')
_STREAMED = re.compile(rb'"stream"\s*:\s*true')
_WANTS_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_TICK_S = 0.001


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _token(text: bytes) -> bytes:
    return _chunk(_EVENT % (b'{"content":" %s"}' % text, b"null"))


_OPENING = _HEAD + _chunk(_EVENT % (b'{"role":"assistant","content":""}', b"null"))


@lru_cache
def _tokens(number: int) -> bytes:
    return b"".join(_token(b"w%d" % i) for i in range(number))


@lru_cache
def _closing(tokens: int, usage: bool) -> bytes:
    end = _chunk(_EVENT % (b"{}", b'"stop"'))
    if usage:
        end += _chunk(_USAGE % (tokens, 20 + tokens))
    return end + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@lru_cache
def _burst(tokens: int, usage: bool) -> bytes:
    return _OPENING + _tokens(tokens) + _closing(tokens, usage)


@lru_cache
def _whole(tokens: int) -> bytes:
    text = b"".join(b" w%d" % i for i in range(tokens))
    return _json(b"200 OK", _WHOLE % (text, tokens, 20 + tokens))


def _json(status: bytes, body: bytes) -> bytes:
    return _JSON % (status, len(body), body)


class _Stream:
    """A paced answer: one token each time the wheel comes round."""

    __slots__ = ("due", "model", "period", "sent", "server", "usage")

    def __init__(self, server: "_Server", model: Model, usage: bool) -> None:
        self.server = server
        self.model = model
        self.period = 1 / model.rate
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
        if self.sent < self.model.tokens:
            return True
        self.server.hold(self.model.after_s, _closing(self.sent, self.usage))
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
        self.holding = 0
        self.requests = 0


class _Server(asyncio.Protocol):
    def __init__(self, wheel: _Wheel, stats: _Stats) -> None:
        self.transport: asyncio.Transport | None = None
        self._wheel = wheel
        self._stats = stats
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._url = b""
        self._answering = False
        self._holding = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._ended()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self.transport is not None
        if self._url == b"/stats":
            self.transport.write(_json(b"200 OK", orjson.dumps(vars(self._stats))))
            return
        body = b"".join(self._body)
        named = _MODEL.search(body)
        model = parse_model(named[1].decode()) if named else None
        if model is None:
            error = {"message": "no such model", "type": "invalid_request_error"}
            self.transport.write(_json(b"404 Not Found", orjson.dumps({"error": error})))
            return
        self._answering = True
        self._stats.streams += 1
        self._stats.requests += 1
        if _STREAMED.search(body):
            self._stream(model, bool(_WANTS_USAGE.search(body)))
        else:
            self._end_after(model.whole_after_s, _whole(model.tokens))

    def hold(self, seconds: float, rest: bytes) -> None:
        """All tokens are out; the end follows after so long."""
        if seconds:
            self._holding = True
            self._stats.holding += 1
        self._end_after(seconds, rest)

    def _stream(self, model: Model, usage: bool) -> None:
        assert self.transport is not None
        if model == Model(model.tokens):
            self._end(_burst(model.tokens, usage))
            return
        self.transport.write(_OPENING)
        if model.rate:
            self._wheel.add(_Stream(self, model, usage))
        elif model.before_s:
            self._end_after(model.before_s, _tokens(model.tokens) + _closing(model.tokens, usage))
        else:
            self.transport.write(_tokens(model.tokens))
            self.hold(model.after_s, _closing(model.tokens, usage))

    def _end_after(self, seconds: float, rest: bytes) -> None:
        if seconds:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._end, rest)
        else:
            self._end(rest)

    def _end(self, rest: bytes) -> None:
        self._ended()
        assert self.transport is not None
        self.transport.write(rest)

    def _ended(self) -> None:
        self._stats.streams -= self._answering
        self._stats.holding -= self._holding
        self._answering = self._holding = False


async def _main() -> None:
    loop = asyncio.get_running_loop()
    wheel, stats = _Wheel(loop), _Stats()
    listener = await loop.create_server(lambda: _Server(wheel, stats), "127.0.0.1", 0, backlog=4096)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    gc.disable()  # nothing here makes cycles worth a pause of all streams
    uvloop.run(_main())
