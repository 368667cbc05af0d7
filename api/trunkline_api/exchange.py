"""Around every request: its id, its one log line, and the last resort when a route breaks."""

import logging
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from trunkline_api.conversation_id import HEADERS
from trunkline_api.errors import SERVER_ERROR, ApiError, Send, send_error
from trunkline_api.idempotency import REPLAYED
from trunkline_shared.logs import log_fields

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Header: TypeAlias = tuple[bytes, bytes]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY: Final = "trunkline.exchange"
_CLIENT_ID_LENGTH: Final = 128
_PROBES: Final = frozenset({"/alive", "/health", "/ready"})

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Exchange:
    """One request and its reply. Routes fill in what the log line should tell beyond HTTP."""

    request_id: str
    status: int | None = None  # set when the reply's headers go out
    principal: str | None = None
    run_id: str | None = None
    agent: str | None = None
    conversation: str = ""  # the reply tells it
    replayed: bool = False  # an earlier request began the run; the reply tells that too
    span: str | None = None  # what the caller's traces call it
    error_code: str | None = None  # of an error that came after the headers
    wrapped: bool = False  # a layer adds to the headers, which must not go past it
    send_body: Send | None = None  # for what follows the headers, past this layer

    def begin(self, status: int, headers: Sequence[Header]) -> list[Header]:
        """The headers of the reply, with those that each has. To be called as they go out."""
        self.status = status
        ours = [(b"x-request-id", self.request_id.encode())]
        if self.conversation:
            ours += [(name, self.conversation.encode()) for name in HEADERS]
        if self.replayed:
            ours.append((REPLAYED.encode(), b"true"))
        return [*headers, *ours]


def new_exchange() -> Exchange:
    return Exchange(f"req_{os.urandom(16).hex()}")


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that `Exchanges` put into the scope."""
    exchange: Exchange = scope[_KEY]
    return exchange


class Exchanges:
    """The outermost ASGI app: every reply carries `x-request-id`, every request is logged once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        exchange = new_exchange()
        scope[_KEY] = exchange
        exchange.send_body = send

        # No coroutine of its own: this stands between every chunk and its socket.
        def tagged(message: Any) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = exchange.begin(message["status"], message.get("headers", ()))
                message = {**message, "headers": headers}
            return send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception:
            logger.exception("a route broke", extra={"fields": {"request_id": exchange.request_id}})
            if exchange.status is None:
                message = f"The server had an error; its log has more under {exchange.request_id}."
                await send_error(tagged, ApiError(500, message, SERVER_ERROR, "server_error"))
        finally:
            exchange.send_body = None  # leads back here
            log_exchange(scope, exchange, time.perf_counter() - began)


def log_exchange(
    scope: Scope, exchange: Exchange, duration_s: float, what: str = "request", **more: Any
) -> None:
    """The one line of it; `more` is what it says beyond what each does."""
    # A proxy that looks every second would fill the log with nothing.
    quiet = scope["path"] in _PROBES and exchange.status == 200
    fields = {
        "method": scope.get("method", "GET"),  # of a WebSocket ASGI does not say it
        "path": scope["path"],
        "status": exchange.status,
        "principal": exchange.principal,
        "request_id": exchange.request_id,
        "client_request_id": _client_request_id(scope),
        "agent": exchange.agent,
        "conversation": exchange.conversation or None,
        "run_id": exchange.run_id,
        "span": exchange.span,
        "error_code": exchange.error_code,
        "duration_ms": round(duration_s * 1000, 1),
        **more,
    }
    log_fields(logger, logging.DEBUG if quiet else logging.INFO, what, fields)


def _client_request_id(scope: Scope) -> str | None:
    # The caller's own id is only noted: anybody may send any.
    for name, value in scope["headers"]:
        if name == b"x-client-request-id":
            text: str = value.decode("latin-1")
            return text[:_CLIENT_ID_LENGTH]
    return None
