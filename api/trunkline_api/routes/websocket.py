"""GET /v1/responses with `Upgrade: websocket`."""

import time
from collections.abc import Callable

from trunkline_api.answer import Answer
from trunkline_api.compactions import Compactions
from trunkline_api.errors import ApiError, Send, send_error
from trunkline_api.exchange import Exchange, Receive, Scope, log_exchange, new_exchange
from trunkline_api.follow import Follow
from trunkline_api.gateway import Gateway
from trunkline_api.headers import Headers, by_name
from trunkline_api.hub import ReaderClosed
from trunkline_api.unstored import UnstoredResponses
from trunkline_api.websocket_session import Session
from trunkline_api.websocket_stream import Messages


class ResponsesWebSocket:
    """All WebSockets of a process, as an ASGI app. `known` makes what one of them remembers."""

    def __init__(
        self,
        path: str,
        gateway: Gateway,
        answer: Answer,
        follow: Follow,
        known: Callable[[], UnstoredResponses],
        compactions: Compactions,
    ) -> None:
        self._path = path
        self._gateway = gateway
        self._answer = answer
        self._follow = follow
        self._known = known
        self._compactions = compactions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        exchange = new_exchange()
        session: Session | None = None
        code: int | None = None
        try:
            await receive()  # "connect", which is all that can come first
            if await self._accepted(scope, send, exchange):
                session = self._session(scope, send, exchange)
                code = await session.serve(receive)
        except ReaderClosed:
            return  # the client has left while it was written to
        finally:
            duration_s = time.perf_counter() - began
            responses = session.responses if session else 0
            about = {"responses": responses, "close_code": code}
            log_exchange(scope, exchange, duration_s, "websocket", **about)

    def _session(self, scope: Scope, send: Send, exchange: Exchange) -> Session:
        gateway, messages = self._gateway, Messages(scope, send)
        known, compactions = self._known(), self._compactions
        return Session(
            gateway, self._answer, self._follow, known, compactions, scope, messages, exchange
        )

    async def _accepted(self, scope: Scope, send: Send, exchange: Exchange) -> bool:
        """Answers the handshake, as any other request is answered."""
        try:
            headers = by_name(scope["headers"])
            self._check(scope, headers)
            exchange.principal = (await self._gateway.keys.authenticate(headers)).name
        except ApiError as error:
            exchange.status, exchange.error_code = error.status, error.code
            await _refuse(scope, send, exchange, error)
            return False
        await send({"type": "websocket.accept", "headers": exchange.begin(101, ())})
        return True

    def _check(self, scope: Scope, headers: Headers) -> None:
        if scope["path"].removeprefix(scope.get("root_path", "")) != self._path:
            where = f"GET {scope['path'][:200]}"
            message = f"No WebSocket is spoken at this URL ({where}). Use {self._path}."
            raise ApiError(404, message, code="unknown_url")
        # No browser asks before it opens a WebSocket, as it does before a POST: without keys any
        # page could use a server that its reader can reach.
        origin = headers.get(b"origin")
        allowed = self._gateway.settings.cors_origins
        if origin is not None and "*" not in allowed and origin.decode("latin-1") not in allowed:
            message = "This server's settings do not allow WebSockets to pages of this origin."
            raise ApiError(403, message, code="origin_not_allowed")


async def _refuse(scope: Scope, send: Send, exchange: Exchange, error: ApiError) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:100]})
        return

    async def renamed(message: dict[str, object]) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    await send_error(renamed, error, exchange.request_id)
