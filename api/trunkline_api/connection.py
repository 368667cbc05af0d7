"""One client's connection: what uvicorn's protocol leaves to be desired."""

import asyncio
import functools
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from trunkline_api.client import EXTENSION
from trunkline_api.errors import ApiError, envelope
from trunkline_api.exchange import Header

_OK: Final = b"HTTP/1.1 200 OK"
_HEAD_BYTES: Final = 64 * 1024  # of a request before its body; the parser itself would take any


def connection_factory(write_timeout_s: float) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection, for `uvicorn.Config(http=...)`."""
    return functools.partial(Connection, write_timeout_s=write_timeout_s)


class Connection(HttpToolsProtocol):
    """Lets a client go that takes nothing of what waits for it for `write_timeout_s`, or sends no
    whole head for so long.

    It is noticed within twice that time, whatever the reply is, and also after the route has
    ended: closing a socket in order would wait for such a client as long as it lives.
    """

    def __init__(self, *args: Any, write_timeout_s: float, **more: Any) -> None:
        super().__init__(*args, **more)
        # `Exchanges` logs requests. uvicorn's own option for it silences all servers of a process.
        self.access_log = False
        self._write_timeout_s = write_timeout_s
        self._waiting = 0
        self._head: int | None = 0  # bytes of a head that is not whole; None in a body
        self._heads = 0  # whole ones so far
        self._awaited = -1  # how many there were when one was missing at the last look
        self._watch: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None  # when the last request was answered, if none is on
        self._extensions: dict[str, Any] = {EXTENSION: self._client}
        self.left: Callable[[], None] | None = None  # who waits for the client's leaving

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        # Circles, which only the garbage collector would find.
        self._extensions.clear()
        if self.cycle is not None:
            self.cycle.transport = self.transport
        super().connection_lost(exc)
        if self.left is not None:
            self.left()

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > _HEAD_BYTES and not self.transport.is_closing():
            words = f"The request's head is larger than {_HEAD_BYTES} bytes."
            self._refuse("431 Request Header Fields Too Large", ApiError(431, words))

    def on_headers_complete(self) -> None:
        self._head = None
        self._heads += 1
        super().on_headers_complete()
        self.scope["extensions"] = self._extensions
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            self.cycle.transport = _Together(self.cycle, self.loop)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        # From here on the connection is another protocol's, and this one hears no more of it.
        self._stop_timers()
        self._extensions.clear()
        del self.parser  # leads back here

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer, which it sets and cancels with each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_if_idle)

    def _look_if_idle(self) -> None:
        self._idle = None
        if self._idle_since is None:
            return  # the end of the request sets it again
        rest_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest_s > 0:
            self._idle = self.loop.call_later(rest_s, self._look_if_idle)
        else:
            self.timeout_keep_alive_handler()

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def _stop_timers(self) -> None:
        for timer in (self._watch, self._idle):
            if timer is not None:
                timer.cancel()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP never reaches the application, which makes every other error."""
        self._refuse("400 Bad Request", ApiError(400, msg, code="invalid_http"))

    def _refuse(self, status: str, error: ApiError) -> None:
        body = envelope(error)
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n"
            f"x-request-id: req_{secrets.token_hex(16)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _client(self) -> "DirectClient | None":
        # While another request waits in the pipeline, uvicorn's cycle is that one's.
        return None if self.pipeline else DirectClient(self, self.cycle)

    def _look(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and waiting == self._waiting:
            self.transport.abort()
            return
        self._waiting = waiting
        # Nothing yet, or half a head: uvicorn has a time-out only between whole requests.
        if self._head is not None and (self._head or not self._heads):
            if self._awaited == self._heads:
                self.transport.close()
                return
            self._awaited = self._heads
        self._watch = self.loop.call_later(self._write_timeout_s, self._look)


class _Together(asyncio.Transport):
    """What a reply is written to until its second piece: the first, which is the head, waits for
    that as long as the tick lasts. By itself it would cost a system call of its own, 7 µs.
    """

    __slots__ = ("_cycle", "_head", "_loop", "_transport")

    def __init__(self, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop) -> None:
        self._cycle = cycle
        self._loop = loop
        self._transport = cycle.transport
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._head:
            self._send(self._head + data)
        else:
            self._head = bytes(data)
            self._loop.call_soon(self._end_tick)

    def close(self) -> None:
        self._end_tick()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _end_tick(self) -> None:
        if self._head:
            self._send(self._head)

    def _send(self, data: bytes) -> None:
        self._head = b""
        self._cycle.transport = self._transport
        if not self._transport.is_closing():
            self._transport.write(data)


class DirectClient:
    """The client of one request on its connection; see `trunkline_api.client.Client`."""

    __slots__ = ("_connection", "_cycle", "_flow", "_left", "_transport")

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self._flow = cycle.flow
        self._transport = connection.transport

    def body(self) -> bytes | None:
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()  # as `receive` does
        return body

    @property
    def takes_head(self) -> bool:
        cycle = self._cycle
        return (
            cycle.keep_alive
            and not cycle.response_started
            and not cycle.disconnected
            and not self._flow.write_paused
        )

    def begin(self, headers: Sequence[Header], piece: bytes, *, last: bool = False) -> None:
        # As `send` does it.
        cycle = self._cycle
        cycle.response_started = cycle.chunked_encoding = True
        cycle.waiting_for_100_continue = False
        cycle.transport = self._transport  # past `_Together`, which holds nothing before a head
        lines = [b": ".join(header) for header in (*cycle.default_headers, *headers)]
        head = b"\r\n".join([_OK, *lines, b"transfer-encoding: chunked\r\n\r\n"])
        self._transport.write(head + _chunked(piece, last))
        if last:
            self._complete()

    @property
    def takes_more(self) -> bool:
        # What `send` looks at. There are chunks only once there are headers.
        cycle = self._cycle
        return (
            cycle.chunked_encoding is True
            and cycle.transport is self._transport
            and not self._flow.write_paused
            and not cycle.disconnected
            and not cycle.response_complete
        )

    def write(self, piece: bytes, *, last: bool = False) -> None:
        self._transport.write(_chunked(piece, last))
        if last:
            self._complete()

    def on_leaving(self, left: Callable[[], None]) -> None:
        self._left = self._connection.left = left
        self._flow.resume_reading()  # as `receive` does: a connection's end is read too
        if self._cycle.disconnected:
            left()

    async def forget(self) -> None:
        if self._connection.left is self._left:
            self._connection.left = None
        del self._left  # leads back here

    def _complete(self) -> None:
        # As `send` does it.
        cycle = self._cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._transport.close()
        cycle.on_response()


def _chunked(piece: bytes, last: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""  # an empty one is the end
    return chunk + b"0\r\n\r\n" if last else chunk
