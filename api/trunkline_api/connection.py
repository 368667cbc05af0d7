"""One client's connection: what uvicorn's protocol leaves to be desired."""

import asyncio
import functools
import secrets
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trunkline_api.errors import ApiError, envelope


def connection_factory(write_timeout_s: float) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection, for `uvicorn.Config(http=...)`."""
    return functools.partial(Connection, write_timeout_s=write_timeout_s)


class Connection(HttpToolsProtocol):
    """Lets a client go that takes nothing of what waits for it for `write_timeout_s`.

    It is noticed within twice that time, whatever the reply is, and also after the route has
    ended: closing a socket in order would wait for such a client as long as it lives.
    """

    def __init__(self, *args: Any, write_timeout_s: float, **more: Any) -> None:
        super().__init__(*args, **more)
        self._write_timeout_s = write_timeout_s
        self._waiting = 0
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP never reaches the application, which makes every other error."""
        body = envelope(ApiError(400, msg, code="invalid_http"))
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n"
            f"x-request-id: req_{secrets.token_hex(16)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _look(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting and waiting == self._waiting:
            self.transport.abort()
            return
        self._waiting = waiting
        self._watch = self.loop.call_later(self._write_timeout_s, self._look)
