"""The server's routes as an ASGI application to mount into another one."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from secrets import token_hex
from typing import Any

from starlette.routing import Router

from trunkline.python_api.embedded import Embedded
from trunkline_api.errors import SERVER_ERROR, ApiError, Send, send_error
from trunkline_api.exchange import Receive, Scope

_NOT_RUNNING = ApiError(
    503, "This server has not been started, or has ended.", SERVER_ERROR, "server_not_running"
)


class MountedApp:
    """Answers while `running` is set, before and after that 503.

    Run by itself, `uvicorn program:server.app`, it enters `server` for its lifespan.
    """

    def __init__(self, server: AbstractAsyncContextManager[Any]) -> None:
        self.running: Embedded | None = None

        @asynccontextmanager
        async def lifespan(_: object) -> AsyncIterator[None]:
            async with server:
                yield

        self._alone = Router(lifespan=lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        running = self.running
        if scope["type"] == "lifespan":
            await self._alone(scope, receive, send)
        elif running is not None:
            with running.in_hand():
                await running.application.asgi(scope, receive, send)
        elif scope["type"] == "http":
            await send_error(send, _NOT_RUNNING, f"req_{token_hex(16)}")
        else:
            await send({"type": "websocket.close"})
