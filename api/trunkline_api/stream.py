"""A run told to one client while it goes on: headers, chunks, comments in its silences, the end."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Protocol

from trunkline_api.client import Client
from trunkline_api.errors import ApiError, Send
from trunkline_api.exchange import Exchange
from trunkline_api.hub import ReaderClosed
from trunkline_api.relay import Batch, Relay, RunLost, client_left, failure_of
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import Failed, RunEvent
from trunkline_shared.frame import Texts

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
        """Whether `render` shows something for this event, the end of the run included. It does for
        every piece of text.
        """

    def broken(self, failed: Failed, *, goes_on: bool) -> bytes:
        """The last bytes of a stream that cannot go on; whether its run is known to go on."""

    def refusal(self, failed: Failed) -> ApiError:
        """The reply for a run that failed before anything was shown."""


class Stream:
    """One streamed reply.

    A client that reads nothing is the connection's business: it ends, and the reader is closed.
    """

    __slots__ = ("_began", "_client", "_exchange", "_renderer", "_send", "_settings", "_still_at")

    def __init__(
        self,
        renderer: Renderer,
        client: Client,
        send: Send,
        exchange: Exchange,
        settings: ApiSettings,
    ) -> None:
        self._renderer = renderer
        self._client = client
        self._send = send
        self._exchange = exchange
        self._settings = settings
        self._began = False
        self._still_at = 0.0  # when what came was last answered by a heartbeat

    async def tell(self, relay: Relay) -> None:
        """Tells all, or that it cannot go on. Before the headers failures raise: ApiError of the
        run's own, and what `Relay.next` raises.
        """
        try:
            await self._begin(relay)
            if not relay.ended:
                relay.go_straight(self._client, self._tell)
            while not relay.ended:
                batches = await relay.next(self._settings.heartbeat_s)
                data = self._renderer.heartbeat if batches is None else self._rendered(batches)
                await self._write(data or self._still(), last=relay.ended)
        except (RedisUnavailable, RunLost, ReaderClosed) as error:
            if not self._began or client_left(error):
                raise
            failed = failure_of(error)
            self._exchange.error_code = failed.code
            goes_on = isinstance(error, ReaderClosed) and await relay.is_shared()
            await self._write(self._renderer.broken(failed, goes_on=goes_on), last=True)

    async def _begin(self, relay: Relay) -> None:
        """Headers go with the first output or after `headers_after_s`; before, failures raise."""
        loop = asyncio.get_running_loop()
        headers_at = loop.time() + self._settings.headers_after_s
        early: list[Batch] = []
        while not self._began:
            batches = await relay.next(max(0.0, headers_at - loop.time())) or []
            early += batches
            if self._is_shown(batches) or loop.time() >= headers_at:
                data = self._rendered(early) or self._renderer.render(())
                await self._write(data or self._renderer.heartbeat, last=relay.ended)

    def _is_shown(self, batches: Sequence[Batch]) -> bool:
        """Whether there is something to show. Raises ApiError when it is that the run failed."""
        for batch in batches:
            if type(batch.events) is Texts:
                return True  # to look at the first is to decode it, and to break off a generator
            for event in batch.events:
                if self._renderer.shows_output(event):
                    if isinstance(event, Failed):
                        raise self._renderer.refusal(event)
                    return True
        return False

    def _rendered(self, batches: Sequence[Batch]) -> bytes:
        return b"".join([self._renderer.render(batch.events) for batch in batches])

    def _tell(self, events: Sequence[RunEvent]) -> None:
        if data := self._renderer.render(events) or self._still():
            self._client.write(data)

    def _still(self) -> bytes:
        """A heartbeat, now and then: an agent may work for long in ways that are not shown."""
        now = time.monotonic()
        if now - self._still_at < self._settings.heartbeat_s:
            return b""
        self._still_at = now
        return self._renderer.heartbeat

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        """Headers leave with the first of it."""
        client = self._client
        if not self._began:
            self._began = True
            if client.takes_head and not self._exchange.wrapped:
                client.begin(self._exchange.begin(200, SSE_HEADERS), data, last=last)
                return
            head = {"type": "http.response.start", "status": 200, "headers": SSE_HEADERS}
            await self._send(head)
        if client.takes_more:
            client.write(data, last=last)
        elif data or last:
            send_body = self._exchange.send_body or self._send
            await send_body({"type": "http.response.body", "body": data, "more_body": not last})
