"""The composition of the API tier's ASGI application."""

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.routing import Route

from trunkline_api.cors import Cors
from trunkline_api.error_handlers import install_error_handlers
from trunkline_api.errors import Send
from trunkline_api.exchange import ASGIApp, Exchanges, Receive, Scope
from trunkline_api.gateway import Gateway, Resource
from trunkline_api.openapi import openapi_document, package_version
from trunkline_api.routes.docs import docs_router
from trunkline_api.routes.health import health_router
from trunkline_api.routes.models import models_router
from trunkline_api.routes.server_info import server_info_router

CHAT_PATH: Final = "/v1/chat/completions"
RESPONSES_PATH: Final = "/v1/responses"
COMPACT_PATH: Final = "/v1/responses/compact"
INPUT_TOKENS_PATH: Final = "/v1/responses/input_tokens"


@dataclass(frozen=True, slots=True)
class Application:
    """`asgi` may be mounted anywhere; its lifespan starts and ends the resources."""

    asgi: ASGIApp
    gateway: Gateway
    resources: Sequence[Resource] = ()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The same, for a server that wants start errors as exceptions of their own."""
        async with AsyncExitStack() as stack:
            for resource in self.resources:
                # Registered first: what broke half-way through its start has to be closed too.
                stack.push_async_callback(resource.aclose)
                await resource.start()
            yield


class _Front:
    """Takes what runs agents out of FastAPI's way, whose layers cost more than a token does."""

    def __init__(
        self, answers: Mapping[str, ASGIApp], websocket: ASGIApp | None, rest: ASGIApp
    ) -> None:
        self._answers = answers
        self._websocket = websocket
        self._rest = rest

    # No coroutine of its own, which would be there as long as a stream.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        app = self._rest
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            app = self._answers.get(path, app)
        elif scope["type"] == "websocket" and self._websocket is not None:
            app = self._websocket
        return app(scope, receive, send)


def create_app(
    gateway: Gateway,
    answers: Mapping[str, ASGIApp],
    resources: Sequence[Resource] = (),
    routers: Sequence[APIRouter] = (),
    websocket: ASGIApp | None = None,
) -> Application:
    """Routes and middleware around `answers`, the ASGI apps of the paths whose POST runs agents,
    and `websocket`, that of every handshake.

    `resources` start in their order with the application, and are closed in reverse. `routers`
    are routes that need more than the gateway.
    """
    settings = gateway.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with application.running():
            yield

    rest = FastAPI(
        title="Trunkline",
        summary="Agents as OpenAI models.",
        version=package_version(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    install_error_handlers(rest)
    rest.include_router(models_router(gateway))
    rest.include_router(health_router(gateway))
    rest.include_router(server_info_router(gateway))
    for router in routers:
        rest.include_router(router)
    # Never called, but FastAPI then answers other methods with 405.
    for path, answer in answers.items():
        rest.router.routes.append(Route(path, answer, methods=["POST"]))
    if settings.docs:
        default_model = next(iter(gateway.config.agents), "assistant")
        rest.include_router(docs_router(openapi_document(rest, answers, default_model)))
    routes: ASGIApp = _Front(answers, websocket, rest)
    if settings.cors_origins:
        routes = Cors(routes, settings.cors_origins)
    application = Application(Exchanges(routes), gateway, tuple(resources))
    return application
