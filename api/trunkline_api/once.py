"""Runs under an `Idempotency-Key`: they go on without their client, who may come back for them.

Whoever asks, the first one too, reads the run from its log, or is told its result once that is
gone.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final

import orjson

from trunkline_api.answer import Begun, Question, Whole
from trunkline_api.aside import aside
from trunkline_api.client import Client
from trunkline_api.errors import SERVER_ERROR, ApiError, Send
from trunkline_api.exchange import Exchange
from trunkline_api.idempotency import result_gone
from trunkline_api.later import LaterStream
from trunkline_api.lookup import Lookup
from trunkline_api.relay import Relay
from trunkline_api.render.response import response_id
from trunkline_api.runs import Runs
from trunkline_api.settings import ApiSettings
from trunkline_api.stored_responses import StoredResponses
from trunkline_api.stream import SSE_HEADERS, Stream
from trunkline_api.submission import Admission
from trunkline_api.tail import LogGone
from trunkline_api.watch import Watch
from trunkline_shared.fold import Folded, decode
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunId, RunRequest
from trunkline_shared.vault import Unreadable, Vault

logger = logging.getLogger("trunkline.once")

# Of a run that nobody began, whose key is free again.
_NEVER_BEGUN: Final = ("queue_timeout",)


class Once:
    """Begins such runs, and finds those that were begun before, by whichever process."""

    def __init__(
        self,
        settings: ApiSettings,
        runs: Runs,
        watch: Watch,
        stored: StoredResponses,
        lookup: Lookup,
        keys: Keys,
        vault: Vault,
    ) -> None:
        self._settings = settings
        self._runs = runs
        self._watch = watch
        self._stored = stored
        self._lookup = lookup
        self._keys = keys
        self._vault = vault

    async def ask(
        self,
        question: Question,
        run: RunRequest,
        admission: Admission,
        client: Client,
        send: Send,
        exchange: Exchange,
    ) -> "tuple[AbstractAsyncContextManager[Any], Begun | Again]":
        """What is to be followed, and by which reply; `run` becomes the one the key stands for.

        Raises ApiError, and what `Runs.submit` raises.
        """
        in_background = not run.reply
        run.reply, run.store = "", True  # no process ends it by its own end; its result is kept
        known = await self._runs.submit(run, admission)
        if known is not None:
            run.run_id, run.conversation = RunId(known.run_id), known.conversation
            exchange.run_id, exchange.conversation = run.run_id, run.conversation
            exchange.replayed = True
        if in_background and not run.stream:
            if known is None:
                return nullcontext(), Begun(question.reply(run, Folded()), send)
            found = await self._stored.find(response_id(run.run_id), run.principal)
            if found is None:
                raise result_gone()
            return nullcontext(), Begun(orjson.dumps(found.value), send)
        live: Stream | Whole
        if run.stream:
            kind = LaterStream if in_background else Stream
            live = kind(question.renderer(run), client, send, exchange, self._settings)
        else:
            live = Whole(question, run, send, self._settings.heartbeat_s)
        return self._read(run.run_id, client), Again(question, run, live, send)

    @asynccontextmanager
    async def _read(self, run_id: str, client: Client) -> AsyncIterator[Relay | Folded]:
        async with AsyncExitStack() as stack:
            found: Relay | Folded
            try:
                # All who come with the key want to see the same of it: nobody has to be noted.
                reading = self._watch.read(run_id, client, as_asked=True)
                found = await stack.enter_async_context(reading)
            except LogGone:
                found = await self._result(run_id)
            yield found

    async def _result(self, run_id: str) -> Folded:
        (sealed,) = await self._lookup.ask(("GET", self._keys.result(run_id)))
        if sealed is None:
            raise result_gone()
        try:
            return await aside(len(sealed), lambda: decode(self._vault.unpack(sealed)))
        except (Unreadable, ValueError) as error:
            logger.error("the result of run %s cannot be read: %s", run_id, error)
            message = "The result of this run is stored, but cannot be read."
            raise ApiError(
                500, message, SERVER_ERROR, "server_error", should_retry=False
            ) from error


class Again:
    """The reply to who asks under a key: by `live` while the run's log is there."""

    def __init__(
        self, question: Question, run: RunRequest, live: Stream | Whole, send: Send
    ) -> None:
        self._question = question
        self._run = run
        self._live = live
        self._send = send

    async def tell(self, found: Relay | Folded) -> None:
        """Raises ApiError when the run failed, and what `Relay.next` raises."""
        try:
            if isinstance(found, Folded):
                await self._tell_result(found)
            else:
                await self._live.tell(found)
        except ApiError as error:
            if error.code in _NEVER_BEGUN:
                raise
            # The same key would only be told the same.
            raise replace(error, should_retry=False) from None

    async def _tell_result(self, folded: Folded) -> None:
        if not self._run.stream:
            return await Begun(self._question.reply(self._run, folded), self._send).tell(None)
        body = self._question.told(self._run, folded)
        await self._send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        await self._send({"type": "http.response.body", "body": body})
