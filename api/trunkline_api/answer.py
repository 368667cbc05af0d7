"""Endpoints that run an agent: raw ASGI, because here every layer would be paid per token.

What differs between them is a `Question`; how a run is asked for, followed and told is here.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import orjson

from trunkline_api.auth import Principal
from trunkline_api.body import ClientLeft, read_body
from trunkline_api.conversation_id import named_conversation, new_conversation
from trunkline_api.errors import ApiError, Send, from_failure, from_refused, send_error
from trunkline_api.exchange import Exchange, Receive, Scope, exchange_of
from trunkline_api.follow import Follow
from trunkline_api.gateway import Gateway
from trunkline_api.headers import by_name
from trunkline_api.hub import ReaderClosed
from trunkline_api.observability import span_name
from trunkline_api.relay import Relay, RunLost
from trunkline_api.runs import Admission
from trunkline_api.targets import Target, Targets
from trunkline_api.time_limit import TimeLimit
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import Failed, RunEvent
from trunkline_shared.fold import Fold, Folded
from trunkline_shared.run import RunRequest, new_run_id

SSE_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Renderer(Protocol):
    """One run's events as server-sent events; fed every event once, in order."""

    @property
    def heartbeat(self) -> bytes: ...

    def render(self, events: Sequence[RunEvent]) -> bytes:
        """The bytes for a batch, to be sent as they are; empty when nothing is to be shown."""

    def shows_output(self, event: RunEvent) -> bool:
        """Whether `render` shows something for this event, the end of the run included."""


class Question(Protocol):
    """One request of an endpoint, parsed. Methods raise ApiError for what cannot be answered."""

    @property
    def model(self) -> str: ...

    async def ask(self, run: RunRequest, principal: Principal) -> bytes:
        """Writes into `run` all that the request says; the record to store with its result."""

    def renderer(self, run: RunRequest) -> Renderer: ...

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        """The whole reply as JSON. Raises ApiError when the run failed."""


class Answer:
    """An endpoint as an ASGI app; one serves all its requests of a process.

    `parse` makes a question of a body, or raises ApiError.
    """

    def __init__(
        self,
        gateway: Gateway,
        follow: Follow,
        targets: Targets,
        parse: Callable[[bytes], Question],
    ) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._follow = follow
        self._targets = targets
        self._parse = parse
        self._body_limit = TimeLimit(gateway.settings.body_timeout_s)

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
        try:
            # Named nowhere here: what was asked may be large, and its answer take long.
            await self._serve(*await self._ask(scope, receive, exchange), receive, send, exchange)
        except Refused as refused:
            raise from_refused(refused) from None
        except (RedisUnavailable, RunLost, ReaderClosed) as error:
            if _client_left(error):
                raise
            raise from_failure(_failed(error)) from error

    async def _ask(
        self, scope: Scope, receive: Receive, exchange: Exchange
    ) -> tuple[RunRequest, Admission, Question]:
        headers = by_name(scope["headers"])
        exchange.conversation = named_conversation(headers)  # a 401 tells it too
        principal = await self._gateway.keys.authenticate(headers)
        exchange.principal = principal.name
        exchange.span = span_name(headers)
        max_bytes = self._settings.max_body_bytes
        body = await read_body(receive, headers, max_bytes=max_bytes, limit=self._body_limit)
        try:
            question = self._parse(body)
        except ApiError:
            self._converse(exchange, _model_in(body))  # an error tells the conversation too
            raise
        self._converse(exchange, question.model)
        target = await self._targets.find(question.model, principal)
        run = self._plain_run(target, principal, exchange)
        record = await question.ask(run, principal)
        return run, Admission(target.agent, principal.max_concurrent, record), question

    def _converse(self, exchange: Exchange, model: str) -> None:
        if not exchange.conversation and self._targets.converses(model):
            exchange.conversation = new_conversation()

    def _plain_run(self, target: Target, principal: Principal, exchange: Exchange) -> RunRequest:
        run_id = new_run_id()
        exchange.run_id, exchange.agent = run_id, target.model
        return RunRequest(
            run_id=run_id,
            agent=target.agent.name,
            model=target.model,
            pool=target.agent.pool,
            principal=principal.name,
            reply=self._follow.reply,
            conversation=exchange.conversation,
            profile=target.profile,
        )

    async def _serve(
        self,
        run: RunRequest,
        admission: Admission,
        question: Question,
        receive: Receive,
        send: Send,
        exchange: Exchange,
    ) -> None:
        async with self._follow.run(run, admission, receive) as relay:
            if not run.stream:
                body = question.reply(run, await self._folded(relay))
                await _send_json(send, body)
                return
            renderer = question.renderer(run)
            stream = _Stream(send, exchange.send_body or send)
            try:
                await self._stream(relay, renderer, stream)
            except (RedisUnavailable, RunLost, ReaderClosed) as error:
                if not stream.began or _client_left(error):
                    raise
                failed = _failed(error)
                exchange.error_code = failed.code
                await stream.write(renderer.render([failed]), last=True)

    async def _folded(self, relay: Relay) -> Folded:
        fold = Fold()
        while not relay.ended:
            for batch in await relay.next(self._settings.heartbeat_s) or ():
                fold.add(batch.first_seq, batch.events)
        return fold.result()

    async def _stream(self, relay: Relay, renderer: Renderer, stream: "_Stream") -> None:
        await self._begin(relay, renderer, stream)
        while not relay.ended:
            batches = await relay.next(self._settings.heartbeat_s)
            if batches is None:
                await stream.write(renderer.heartbeat)
                continue
            data = b"".join([renderer.render(batch.events) for batch in batches])
            await stream.write(data, last=relay.ended)

    async def _begin(self, relay: Relay, renderer: Renderer, stream: "_Stream") -> None:
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


async def _send_json(send: Send, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _model_in(body: bytes) -> str:
    """What a body names as `model`, right or wrong."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(values.get("model")) if isinstance(values, dict) else ""


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
