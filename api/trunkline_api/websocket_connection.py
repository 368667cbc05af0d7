"""One client's WebSocket: what uvicorn's protocol for it leaves to be desired."""

import asyncio
import functools
import logging
import secrets
from asyncio.transports import BaseTransport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from trunkline_api.errors import ApiError, envelope
from trunkline_api.websocket_stream import OUTLET

_ENDED: Final = "The server ended before it answered."
_TAKEN: Final = 4 * 1024  # bytes at a time; the smallest frames of so many take milliseconds
_FRAGMENTS: Final = 16 * 1024  # of one message; each takes many times its own bytes


def websocket_factory(write_timeout_s: float) -> Callable[..., Any]:
    """What makes the protocol of each upgraded connection, for `uvicorn.Config(ws=...)`."""
    return functools.partial(WebSocketConnection, write_timeout_s=write_timeout_s)


class WebSocketConnection(WebSocketsSansIOProtocol):
    """Lets a client go that takes nothing of what waits for it for `write_timeout_s`, and refuses
    handshakes in OpenAI's envelope. Takes little of a client at a time, and then serves others.

    When the server shuts down nothing is closed here: the application does that, within the grace.
    """

    def __init__(self, *args: Any, write_timeout_s: float, **more: Any) -> None:
        super().__init__(*args, **more)
        # Without extensions: compressed, a small message may grow to a very large one.
        self.conn = _Handshake(
            max_size=self.config.ws_max_size, logger=logging.getLogger("uvicorn.error")
        )
        self._write_timeout_s = write_timeout_s
        self._waiting = 0
        self._unread = bytearray()
        self._turn: asyncio.Handle | None = None  # of the rest of what has come
        self._extensions: dict[str, Any] = {"websocket.http.response": {}, OUTLET: self}

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._watch = self.loop.call_later(self._write_timeout_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        if self._turn is not None:
            self._turn.cancel()
        self._extensions.clear()  # a circle, which only the garbage collector would find
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if self._turn is None:
            self._take()
        else:
            self.transport.pause_reading()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # else uvicorn logs that it was not, as an error

    async def receive(self) -> Any:
        message = await super().receive()  # which reads on when it has told all that was taken
        if self._turn is not None:
            self.transport.pause_reading()
        return message

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"] = self._extensions

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < _FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(CloseCode.POLICY_VIOLATION, "a message of too many fragments")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        answer = b"".join(self.conn.data_to_send())
        if self.writable.is_set():  # who reads nothing does not see it, and may send many
            self.transport.write(answer)

    def shutdown(self) -> None:
        """The application knows by itself."""

    @property
    def takes_more(self) -> bool:
        """Whether `write` may be called now; else a message has to go by `send`."""
        return (
            self.writable.is_set()
            and self.handshake_complete
            and not self.close_sent
            and not self.transport.is_closing()
        )

    def write(self, message: bytes) -> None:
        """Does at once what `send` would do with a text."""
        self.conn.send_text(message)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _take(self) -> None:
        """Takes a little of what has come, and the rest when others had their turn."""
        self._turn = None
        piece = bytes(self._unread[:_TAKEN])
        del self._unread[:_TAKEN]
        super().data_received(piece)
        self._refuse_no_handshake()
        if self.transport.is_closing():
            self._unread.clear()
        elif self._unread:
            self.transport.pause_reading()
            self._turn = self.loop.call_soon(self._take)
        elif not self.read_paused:
            self.transport.resume_reading()

    def _refuse_no_handshake(self) -> None:
        # A head that was good for HTTP, but is not for this, would wait for its answer for ever.
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.handshake_initiated = self.handshake_complete = self.close_sent = True
            refusal = _refusal(HTTPStatus.BAD_REQUEST, "This is no handshake of a WebSocket.")
            self.transport.write(refusal.serialize())
            self.transport.close()

    def _look(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and waiting == self._waiting:
            self.transport.abort()
            return
        self._waiting = waiting
        self._watch = self.loop.call_later(self._write_timeout_s, self._look)


class _Handshake(ServerProtocol):
    def reject(self, status: int, text: str) -> Response:
        """What is refused before the application hears of it."""
        return _refusal(HTTPStatus(status), text.strip() or _ENDED)


def _refusal(status: HTTPStatus, message: str) -> Response:
    code = "server_error" if status >= 500 else "invalid_handshake"
    body = envelope(ApiError(status, message, code=code))
    headers = Headers(
        {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            "x-request-id": f"req_{secrets.token_hex(16)}",
        }
    )
    return Response(status, status.phrase, headers, body)
