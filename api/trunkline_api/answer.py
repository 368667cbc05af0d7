"""Endpoints that run an agent: raw ASGI, because here every layer would be paid per token.

What differs between them is a `Question`; how a run is asked for, followed and told is here.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import orjson

from trunkline_api.abilities import Abilities, Asked
from trunkline_api.auth import Principal
from trunkline_api.body import ClientLeft, read_body
from trunkline_api.client import client_of
from trunkline_api.conversation_id import (
    conversation_of,
    must_exist,
    named_conversation,
    new_conversation,
)
from trunkline_api.errors import ApiError, Send, from_failure, from_refused, send_error
from trunkline_api.exchange import Exchange, Receive, Scope, exchange_of
from trunkline_api.follow import Follow
from trunkline_api.gateway import Gateway
from trunkline_api.headers import Headers, by_name
from trunkline_api.hub import ReaderClosed
from trunkline_api.idempotency import key_of
from trunkline_api.later import LaterStream
from trunkline_api.observability import span_name
from trunkline_api.relay import Relay, RunLost, client_left, failure_of
from trunkline_api.stream import Renderer, Stream
from trunkline_api.submission import Admission, Kept
from trunkline_api.targets import Target, Targets
from trunkline_api.time_limit import TimeLimit
from trunkline_api.watch import Watch
from trunkline_shared.errors import RedisUnavailable, Refused, TrunklineError
from trunkline_shared.fold import Fold, Folded
from trunkline_shared.run import RunRequest, new_run_id

if TYPE_CHECKING:
    from trunkline_api.once import Once


class Question(Protocol):
    """One request of an endpoint, parsed. Methods raise ApiError for what cannot be answered."""

    @property
    def model(self) -> str: ...

    @property
    def conversation(self) -> str:
        """The id of the one that the body names, as it spells it; empty if none."""

    def asks(self) -> Asked:
        """What it asks beyond an answer in words, and where. Whole once `ask` has returned."""

    async def ask(self, run: RunRequest, principal: Principal) -> Kept:
        """Writes into `run` all that the request says; what to store with its result."""

    def renderer(self, run: RunRequest) -> Renderer: ...

    def reply(self, run: RunRequest, folded: Folded) -> bytes:
        """The whole reply as JSON. Raises ApiError when the run failed.

        Of a run in the background, which has not begun: what is to be known of it.
        """

    def told(self, run: RunRequest, folded: Folded) -> bytes:
        """The whole stream of a run of which only its result is left.

        Raises ApiError when it failed before anything was shown, unless it is in the background.
        """


QuestionT = TypeVar("QuestionT", bound=Question)


class Answer:
    """An endpoint as an ASGI app; one serves all its requests of a process.

    `parse` makes a question of a body and its request's headers, or raises ApiError. Without a
    `watch` no question may ask for a run in the background, which is one without a `reply`. Without
    `once` an `Idempotency-Key` has no effect. With `begins` the models that always talk in a
    conversation begin one where none is named.
    """

    def __init__(
        self,
        gateway: Gateway,
        follow: Follow,
        targets: Targets,
        parse: Callable[[bytes, Headers], Question],
        watch: Watch | None = None,
        once: "Once | None" = None,
        *,
        begins: bool = True,
    ) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._follow = follow
        self._targets = targets
        self._parse = parse
        self._watch = watch
        self._once = once
        self._begins = begins
        self._abilities = Abilities()
        self._body_limit = TimeLimit(gateway.settings.body_timeout_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        try:
            following, reply = await self._ask(scope, receive, send, exchange)
            async with following as relay:
                await reply.tell(relay)
        except ClientLeft:
            return  # nobody is there to be told
        except (ApiError, Refused, RedisUnavailable, RunLost, ReaderClosed) as error:
            if client_left(error):
                return
            await _tell_error(send, exchange, error)

    async def _ask(
        self, scope: Scope, receive: Receive, send: Send, exchange: Exchange
    ) -> "tuple[AbstractAsyncContextManager[Any], _Reply]":
        """What is to be followed, and by which reply; nothing else of the request is kept."""
        headers = by_name(scope["headers"])
        exchange.conversation = named_conversation(headers)  # a 401 tells it too
        principal = await self._gateway.keys.authenticate(headers)
        exchange.principal = principal.name
        exchange.span = span_name(headers)
        max_bytes = self._settings.max_body_bytes
        client = client_of(scope, receive)
        body = await read_body(
            receive, headers, max_bytes=max_bytes, limit=self._body_limit, arrived=client.body
        )
        key = None
        if self._once is not None:
            key = key_of(headers, scope["path"], body, principal.name, exchange.conversation)
        question, run, admission = await self.understand(
            self._parse, body, headers, principal, exchange
        )
        if key is not None and self._once is not None:
            admission = admission._replace(key=key)
            return await self._once.ask(question, run, admission, client, send, exchange)
        if not run.reply:
            assert self._watch is not None
            if not run.stream:
                begun = question.reply(run, Folded())
                return self._watch.begun(run, admission), Begun(begun, send)
            told = (question.renderer(run), client, send, exchange, self._settings)
            return self._watch.run(run, admission, client), LaterStream(*told)
        following = self._follow.run(run, admission, client)
        if run.stream:
            renderer = question.renderer(run)
            return following, Stream(renderer, client, send, exchange, self._settings)
        return following, Whole(question, run, send, self._settings.heartbeat_s)

    async def understand(
        self,
        parse: Callable[[bytes, Headers], QuestionT],
        body: bytes,
        headers: Headers,
        principal: Principal,
        exchange: Exchange,
    ) -> tuple[QuestionT, RunRequest, Admission]:
        """The question in a body, and the run that answers it. Raises ApiError."""
        try:
            question = parse(body, headers)
        except ApiError:
            self._converse(exchange, _model_in(body))  # an error tells the conversation too
            raise
        model, named = question.model, question.conversation
        self._converse(exchange, model, named)
        target = await self._targets.find(model, principal)
        run = self._plain_run(target, principal, exchange)
        record, lists = await question.ask(run, principal)
        self._abilities.check(target.agent, target.model, question.asks)
        exists = bool(run.conversation) and must_exist(headers, named)
        most, background = principal.max_concurrent, not run.reply
        admission = Admission(
            target.agent, most, record, lists, must_exist=exists, background=background
        )
        return question, run, admission

    def _converse(self, exchange: Exchange, model: str, named: str = "") -> None:
        if named and not exchange.conversation:
            exchange.conversation = conversation_of(named)
        if not exchange.conversation and self._begins and self._targets.converses(model):
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


class _Reply(Protocol):
    async def tell(self, relay: Any) -> None: ...


class Whole:
    """One reply that is not streamed."""

    def __init__(self, question: Question, run: RunRequest, send: Send, patience_s: float) -> None:
        self._question = question
        self._run = run
        self._send = send
        self._patience_s = patience_s

    async def tell(self, relay: Relay) -> None:
        """Raises ApiError when the run failed, and what `Relay.next` raises."""
        fold = Fold()
        while not relay.ended:
            for batch in await relay.next(self._patience_s) or ():
                fold.add(batch.first_seq, batch.events)
        await _send_json(self._send, self._question.reply(self._run, fold.result()))


class Begun:
    """The reply to who does not wait for the run."""

    def __init__(self, body: bytes, send: Send) -> None:
        self._body = body
        self._send = send

    async def tell(self, _: None) -> None:
        await _send_json(self._send, self._body)


async def _send_json(send: Send, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _tell_error(send: Send, exchange: Exchange, error: ApiError | TrunklineError) -> None:
    # Not where it was caught: a frame that names an error which names the frame is a circle, and
    # keeps the whole request until garbage is collected.
    told = as_told(error)
    exchange.error_code = told.code
    await send_error(send, told)


def as_told(error: ApiError | TrunklineError) -> ApiError:
    """The reply for what may end a request before its reply began."""
    match error:
        case ApiError():
            return error
        case Refused():
            return from_refused(error)
        case _:
            return from_failure(failure_of(error))


def _model_in(body: bytes) -> str:
    """What a body names as `model`, right or wrong."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(values.get("model")) if isinstance(values, dict) else ""
