"""POST /v1/chat/completions: raw ASGI, because here every layer would be paid per token."""

import asyncio
from typing import Final

from trunkline_api.body import ClientLeft, read_body
from trunkline_api.chat_request import to_run
from trunkline_api.errors import (
    ApiError,
    Send,
    from_failure,
    from_refused,
    model_not_found,
    send_error,
)
from trunkline_api.exchange import Exchange, Receive, Scope, exchange_of
from trunkline_api.follow import Follow
from trunkline_api.gateway import Gateway
from trunkline_api.hub import ReaderClosed
from trunkline_api.relay import Relay, RunLost
from trunkline_api.render.chat import ChatRenderer, render_completion
from trunkline_api.wire.chat import ChatRequest, parse_chat
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import Failed, RunEvent
from trunkline_shared.fold import Fold
from trunkline_shared.run import RunRequest, new_run_id

SSE_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class ChatRoute:
    """The route as an ASGI app; one serves all requests of a process."""

    def __init__(self, gateway: Gateway, follow: Follow) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._follow = follow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            await self._answer(scope, receive, send, exchange)
        except (ClientLeft, ReaderClosed):
            return  # nobody is there to be told
        except ApiError as error:
            exchange.error_code = error.code
            await send_error(send, error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        principal = self._gateway.keys.authenticate(scope["headers"])
        exchange.principal = principal.name
        body = await read_body(
            receive,
            scope["headers"],
            max_bytes=self._settings.max_body_bytes,
            timeout_s=self._settings.body_timeout_s,
        )
        request = parse_chat(body)
        agent = self._gateway.config.agents.get(request.model)
        if agent is None:
            raise model_not_found(request.model, self._gateway.config.agents)
        run = to_run(
            request,
            agent=agent,
            principal=principal.name,
            reply=self._follow.reply,
            run_id=new_run_id(),
        )
        exchange.run_id, exchange.agent = run.run_id, agent.name
        try:
            await self._serve(run, agent, request, receive, send, exchange)
        except Refused as refused:
            raise from_refused(refused) from None
        except (RedisUnavailable, RunLost, ReaderClosed) as error:
            if _client_left(error):
                raise
            raise from_failure(_failed(error)) from error

    async def _serve(
        self,
        run: RunRequest,
        agent: AgentConfig,
        request: ChatRequest,
        receive: Receive,
        send: Send,
        exchange: Exchange,
    ) -> None:
        async with self._follow.run(run, agent, receive) as relay:
            if not run.stream:
                await self._reply(run, relay, send)
                return
            renderer = ChatRenderer(run.run_id, agent.name, include_usage=request.include_usage)
            stream = _Stream(send, exchange.send_body or send)
            try:
                await self._stream(relay, renderer, stream)
            except (RedisUnavailable, RunLost, ReaderClosed) as error:
                if not stream.began or _client_left(error):
                    raise
                failed = _failed(error)
                exchange.error_code = failed.code
                await stream.write(renderer.render([failed]), last=True)

    async def _reply(self, run: RunRequest, relay: Relay, send: Send) -> None:
        fold = Fold()
        while not relay.ended:
            for batch in await relay.next(self._settings.heartbeat_s) or ():
                fold.add(batch.first_seq, batch.events)
        body = render_completion(run.run_id, run.agent, fold.result())
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, relay: Relay, renderer: ChatRenderer, stream: "_Stream") -> None:
        await self._begin(relay, renderer, stream)
        while not relay.ended:
            batches = await relay.next(self._settings.heartbeat_s)
            if batches is None:
                await stream.write(renderer.heartbeat)
                continue
            data = b"".join([renderer.render(batch.events) for batch in batches])
            await stream.write(data, last=relay.ended)

    async def _begin(self, relay: Relay, renderer: ChatRenderer, stream: "_Stream") -> None:
        """Headers go with the first output or after `headers_after_s`; before, failures raise."""
        loop = asyncio.get_running_loop()
        headers_at = loop.time() + self._settings.headers_after_s
        early: list[RunEvent] = []
        while not stream.began:
            batches = await relay.next(max(0.0, headers_at - loop.time()))
            early += [event for batch in batches or () for event in batch.events]
            shown = next(filter(renderer.shows_output, early), None)
            if isinstance(shown, Failed):
                raise from_failure(shown)
            if shown is not None or loop.time() >= headers_at:
                data = renderer.render(early) or renderer.heartbeat
                await stream.write(data, last=relay.ended)


class _Stream:
    """The reply's bytes on their way out; headers leave with the first of them.

    A client that reads nothing is the connection's business: it ends, and the reader is closed.
    """

    def __init__(self, send_head: Send, send_body: Send) -> None:
        self._send_head = send_head
        self._send_body = send_body
        self.began = False

    async def write(self, data: bytes, *, last: bool = False) -> None:
        if not self.began:
            self.began = True
            head = {"type": "http.response.start", "status": 200, "headers": SSE_HEADERS}
            await self._send_head(head)
        if data or last:
            body = {"type": "http.response.body", "body": data, "more_body": not last}
            await self._send_body(body)


def _client_left(error: Exception) -> bool:
    return isinstance(error, ReaderClosed) and not error.shutting_down


def _failed(error: Exception) -> Failed:
    match error:
        case RedisUnavailable():
            return Failed("redis_unavailable", "The server's queue is away; try again later.")
        case RunLost():
            return Failed("run_lost", "The run's events were lost.")
        case _:
            return Failed("api_draining", "The server is shutting down; try again.")
