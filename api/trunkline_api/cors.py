"""CORS for the origins that the operator names."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from trunkline_api.conversation_id import HEADERS
from trunkline_api.error_handlers import reply
from trunkline_api.errors import invalid
from trunkline_api.exchange import exchange_of
from trunkline_api.idempotency import REPLAYED

_EXPOSED = (
    *("x-request-id", "retry-after", "retry-after-ms", "x-should-retry", REPLAYED),
    *(header.decode() for header in HEADERS),
)


class Cors(CORSMiddleware):
    """starlette's, refusing in OpenAI's envelope. Keys travel in headers: no credentials."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "PATCH", "DELETE"),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=_EXPOSED,
        )

    async def simple_response(
        self, scope: Scope, receive: Receive, send: Send, request_headers: Headers
    ) -> None:
        exchange_of(scope).wrapped = True
        await super().simple_response(scope, receive, send, request_headers)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        message = f"{bytes(response.body).decode()}: this server's settings do not allow it."
        refusal = reply(invalid(None, message, "cors_not_allowed"))
        refusal.headers["vary"] = response.headers["vary"]
        return refusal
