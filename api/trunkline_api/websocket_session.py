"""One WebSocket of /v1/responses: what its client says, and what it is told."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any, Final

import orjson

from trunkline_api.answer import Answer, as_told
from trunkline_api.compactions import Compactions
from trunkline_api.conversation_id import named_conversation
from trunkline_api.errors import SERVER_ERROR, ApiError, invalid
from trunkline_api.exchange import Exchange, Receive, Scope, log_exchange, new_exchange
from trunkline_api.follow import Follow
from trunkline_api.gateway import Gateway
from trunkline_api.headers import by_name
from trunkline_api.hub import ReaderClosed
from trunkline_api.observability import span_name
from trunkline_api.relay import RunLost, client_left
from trunkline_api.render.response import response_id
from trunkline_api.render.responses import ResponsesRenderer
from trunkline_api.routes.responses import responses_question
from trunkline_api.unstored import UnstoredResponses
from trunkline_api.websocket_lanes import Lanes
from trunkline_api.websocket_stream import Messages, WebSocketStream, events_of
from trunkline_api.wire.websocket import (
    ClientEvent,
    error_event,
    in_lane,
    parse_create,
    read_event,
    steer_failed,
)
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import Finished
from trunkline_shared.fold import Folded, said
from trunkline_shared.owned import end_owned
from trunkline_shared.run import RunRequest

logger = logging.getLogger(__name__)

GOING_AWAY: Final = 1001
RESTART: Final = 1012


class Session:
    """From the accepted handshake to the end of the socket. `headers` of the handshake count for
    each response as they would for one that is asked for by POST.
    """

    def __init__(
        self,
        gateway: Gateway,
        answer: Answer,
        follow: Follow,
        known: UnstoredResponses,
        compactions: Compactions,
        scope: Scope,
        messages: Messages,
        socket: Exchange,
    ) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._answer = answer
        self._follow = follow
        self._known = known
        self._scope = scope
        self._messages = messages
        self._socket = socket
        self._headers = by_name(scope["headers"])
        self._parse = responses_question(known, compactions, parse_create)
        max_bytes = gateway.settings.max_body_bytes
        at_once = gateway.settings.websocket_responses
        self._lanes = Lanes(self._respond, at_once=at_once, max_bytes=max_bytes)
        self._refusal: ApiError | None = None  # of what is asked for from now on
        self.responses = 0

    async def serve(self, receive: Receive) -> int | None:
        """Returns when the client has left or was sent away: the code it closed with.

        Raises ReaderClosed when it has left while it was written to.
        """
        end = asyncio.create_task(self._end(), name="websocket:end")
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                await self._take(message)
            code: int | None = message.get("code")
            return code
        finally:
            # A run whose client has left is cancelled by the end of who follows it.
            await end_owned(end)
            await self._lanes.aclose()

    async def _take(self, message: Any) -> None:
        """One message; what is wrong with it is told, and the next one may be better."""
        lane: str | None = None
        try:
            event = read_event(self._body(message))
            lane = event.stream_id
            if event.type == "response.processed":
                return  # Codex says so of what it has read, and awaits no answer
            if event.type == "response.steer":
                await self._messages.send(steer_failed(event.body))
            elif event.type != "response.create":
                expected = "'type' is one of 'response.create', 'response.steer'."
                raise invalid("type", f"Unknown event {event.type[:100]!r}: {expected}")
            elif self._refusal is not None:
                await self._refuse(event, self._refusal)
            else:
                self._lanes.offer(event)
        except ApiError as error:
            await self._messages.send(in_lane(error_event(error), lane))

    async def _refuse(self, event: ClientEvent, error: ApiError) -> None:
        await self._messages.send(in_lane(error_event(error), event.stream_id))

    def _body(self, message: Any) -> bytes:
        text: str | None = message.get("text")
        if text is None:
            raise invalid(None, "Send JSON in text messages, not binary ones.", "invalid_type")
        body = text.encode()
        if len(body) > self._settings.max_body_bytes:
            words = f"The message is larger than {self._settings.max_body_bytes} bytes; "
            raise ApiError(413, words + "shorten the transcript.", code="request_too_large")
        return body

    async def _respond(self, event: ClientEvent) -> None:
        """Answers one `response.create`, or says why not."""
        began = time.perf_counter()
        exchange = new_exchange()
        self.responses += 1
        try:
            error = await self._tried(event, exchange)
            if error is not None:
                exchange.status, exchange.error_code = error.status, error.code
                await self._refuse(event, error)
        except ReaderClosed:
            return  # nobody is there to be told
        finally:
            duration_s = time.perf_counter() - began
            about = {"socket": self._socket.request_id, "stream_id": event.stream_id}
            log_exchange(self._scope, exchange, duration_s, "response", **about)

    async def _tried(self, event: ClientEvent, exchange: Exchange) -> ApiError | None:
        try:
            await self._tell(event, exchange)
        except (ApiError, Refused, RedisUnavailable, RunLost, ReaderClosed) as error:
            return None if client_left(error) else as_told(error)
        except Exception:  # as of a request, but the socket and its other responses go on
            logger.exception("a route broke", extra={"fields": {"request_id": exchange.request_id}})
            message = f"The server had an error; its log has more under {exchange.request_id}."
            return ApiError(500, message, SERVER_ERROR, "server_error")
        return None

    async def _tell(self, event: ClientEvent, exchange: Exchange) -> None:
        principal = await self._gateway.keys.authenticate(self._headers)
        exchange.principal = principal.name
        exchange.conversation = named_conversation(self._headers)
        exchange.span = span_name(self._headers)
        body, event.body = event.body, b""
        question, run, admission = await self._answer.understand(
            self._parse, body, self._headers, principal, exchange
        )
        renderer = question.renderer(run)
        assert isinstance(renderer, ResponsesRenderer)
        warm_up = question.request.is_warm_up
        if not run.transcript and not run.conversation and not warm_up:
            # It follows a warm-up that had no input either.
            raise invalid("input", "'input' is empty: send at least one item.")
        kept = not run.store and not run.conversation
        asked = orjson.dumps(run.transcript) if kept else b""
        lane, run_id = event.stream_id, run.run_id
        if warm_up:
            await self._warm_up(run, renderer, lane, exchange)
        else:
            stream = WebSocketStream(renderer, self._messages, lane, exchange, self._settings)
            following = self._follow.run(run, admission, stream.client)
            del body, question, run, admission  # large, and from here on the worker's
            async with following as relay:
                await stream.tell(relay)
        if kept and isinstance(renderer.folded.terminal, Finished):
            self._known.keep(lane, response_id(run_id), asked, said(renderer.folded))

    async def _warm_up(
        self, run: RunRequest, renderer: ResponsesRenderer, lane: str | None, exchange: Exchange
    ) -> None:
        """Keeps what was asked for the response that follows; no agent hears of it."""
        if run.conversation:
            message = "A turn of a conversation is always answered: leave 'generate' out."
            raise invalid("generate", message)
        exchange.run_id, exchange.status = None, 200
        whole = renderer.whole(Folded(terminal=Finished("stop"), ended_ms=int(time.time() * 1000)))
        for told in events_of(whole, lane):
            await self._messages.send(told)

    async def _end(self) -> None:
        """Ends the socket in order, when the process shuts down or when it is too old."""
        shutdown = self._gateway.shutdown
        code = RESTART
        try:
            async with asyncio.timeout(self._settings.websocket_life_s):
                await shutdown.draining.wait()
            with suppress(TimeoutError):  # until proxies have noticed, all goes on as it was
                async with asyncio.timeout(self._settings.notice_s):
                    await shutdown.closing.wait()
            self._refusal = as_told(ReaderClosed(shutting_down=True))
        except TimeoutError:
            code, self._refusal = GOING_AWAY, _too_old(self._settings.websocket_life_s)
        for event in self._lanes.give_up():
            await self._refuse(event, self._refusal)
        await self._lanes.idle()
        if code == GOING_AWAY:
            await self._messages.send(error_event(self._refusal))
        await self._messages.close(code, self._refusal.message)


def _too_old(life_s: float) -> ApiError:
    message = f"This WebSocket is as old as it may get ({life_s:g} s): open another one."
    return invalid(None, message, "websocket_connection_limit_reached")
