"""A run told to a client that did not wait for it, or does no more: from its log, or from what is
left of that."""

from fastapi import Response

from trunkline_api.client import client_of
from trunkline_api.errors import Send, from_failure, invalid
from trunkline_api.exchange import Receive, Scope, exchange_of
from trunkline_api.hub import ReaderClosed
from trunkline_api.relay import Relay, RunLost, failure_of
from trunkline_api.render.responses import ResponsesRenderer, render_folded
from trunkline_api.render.resumed import Resumed
from trunkline_api.settings import ApiSettings
from trunkline_api.stored_runs import LOST, Stored
from trunkline_api.stream import SSE_HEADERS, Stream
from trunkline_api.tail import LogGone
from trunkline_api.watch import Watch
from trunkline_shared.fold import Folded


class LaterStream(Stream):
    """The headers leave at once, so that how the run ends is always told in the stream."""

    __slots__ = ()

    async def _begin(self, relay: Relay) -> None:
        await self._write(self._renderer.render(()) or self._renderer.heartbeat)


class Replay(Response):
    """A stored response as server-sent events, those that come after the sequence number `after`.

    Raises ApiError or RedisUnavailable before its headers.
    """

    def __init__(self, watch: Watch, settings: ApiSettings, found: Stored, after: int | None):
        super().__init__(media_type="text/event-stream")
        self._watch = watch
        self._settings = settings
        self._found = found
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found, client = self._found, client_of(scope, receive)
        renderer = Resumed(
            ResponsesRenderer(found.about), -1 if self._after is None else self._after
        )
        stream = LaterStream(renderer, client, send, exchange_of(scope), self._settings)
        try:
            async with self._watch.read(found.run_id, client) as relay:
                await stream.tell(relay)
        except LogGone:
            await self._tell_folded(send)
        except ReaderClosed:
            return  # nobody is there to be told
        except RunLost as error:
            raise from_failure(failure_of(error)) from error

    async def _tell_folded(self, send: Send) -> None:
        if self._after is not None:
            raise invalid(
                "starting_after",
                "The events of this response are not kept any more: leave 'starting_after' out "
                "to be told what came of them.",
                "stream_cursor_expired",
            )
        folded = self._found.folded or Folded(terminal=LOST)
        body = render_folded(self._found.about, folded)
        await send({"type": "http.response.start", "status": 200, "headers": SSE_HEADERS})
        await send({"type": "http.response.body", "body": body})
