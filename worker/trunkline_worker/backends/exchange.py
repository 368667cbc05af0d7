"""One call of an upstream: the request, its streamed answer, and what became of it."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from trunkline_shared.events import RunEvent
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.chat_stream import ChatStream
from trunkline_worker.backends.http_client import HttpClient, origin_of, post_head
from trunkline_worker.backends.http_connection import CallError, Connection, Cut, Origin
from trunkline_worker.backends.upstream_errors import (
    CUT,
    GARBAGE,
    Fault,
    of_error,
    of_exception,
    of_status,
)
from trunkline_worker.models import ModelSpec

_ERROR_BYTES: Final = 64 * 1024
_WHOLE_BYTES: Final = 64 * 1024 * 1024
_USAGE_WAIT_S: Final = 5.0  # for the usage, after the finish reason
_STALE_S: Final = 2.0  # whoever hangs up later than this may have worked on the call


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where and how to call one model."""

    client: HttpClient
    origin: Origin
    head: bytes = field(repr=False)
    connect_timeout_s: float
    silence_timeout_s: float
    secrets: Sequence[str] = field(repr=False)

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        client: HttpClient,
        *,
        connect_timeout_s: float,
        silence_timeout_s: float,
    ) -> "Upstream":
        """Raises ValueError for a URL or headers that cannot be sent."""
        origin = origin_of(spec.base_url)
        headers = {
            "content-type": "application/json",
            "user-agent": "trunkline",
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",  # compressors hold tokens back
        }
        if spec.api_key is not None:
            headers["authorization"] = f"Bearer {spec.api_key}"
        elif credentials := _credentials(spec.base_url):
            headers["authorization"] = f"Basic {credentials}"
        headers |= {name.lower(): value for name, value in spec.extra_headers.items()}
        return cls(
            client,
            origin,
            post_head(spec.base_url, "/chat/completions", headers),
            connect_timeout_s,
            silence_timeout_s,
            secrets_of(spec),
        )


def secrets_of(spec: ModelSpec) -> tuple[str, ...]:
    """What nobody may be told of a model."""
    parts = urlsplit(spec.base_url)
    hidden = (
        spec.api_key or "",
        *spec.extra_headers.values(),
        parts.netloc,
        parts.password or "",
        unquote(parts.password or ""),
        _credentials(spec.base_url),
    )
    return tuple(secret for secret in hidden if len(secret) >= 6)


def _credentials(url: str) -> str:
    """Of a URL with a user or a password, as `Authorization: Basic` has them; else empty."""
    parts = urlsplit(url)
    if parts.username is None:
        return ""
    return b64encode(unquote(f"{parts.username}:{parts.password or ''}").encode()).decode()


class Exchange:
    """Asks once, and emits what is answered. What `run` returns is still to be shown.

    `fault`: why there is no whole answer. `shown`: something was emitted.
    """

    def __init__(
        self, upstream: Upstream, body: bytes, limit: int | None, context: RunContext
    ) -> None:
        self.answer = ChatStream(limit, bulk=context.bulk)
        self.fault: Fault | None = None
        self.shown = False
        self._upstream = upstream
        self._request = b"%b%d\r\n\r\n%b" % (upstream.head, len(body), body)
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._status = 0
        self._headers: Mapping[bytes, bytes] = {}
        self._held: bytearray | None = None  # a body that says nothing before it is whole

    async def run(self) -> list[RunEvent]:
        """The events of the last read, which may be none. Raises what `emit` raises.

        However it ends, nothing of it is left open but a connection to be kept.
        """
        upstream = self._upstream
        connection = upstream.client.take(upstream.origin)
        try:
            if connection is not None:
                called_at = self._loop.time()
                try:
                    return await self._call(connection)
                except Cut:
                    if connection.heard or self._loop.time() - called_at > _STALE_S:
                        raise
                # The provider closed it while it was idle. That is no failed call.
                await self._context.gate()
            connection = await upstream.client.connect(upstream.origin, upstream.connect_timeout_s)
            return await self._call(connection)
        except CallError as error:
            self._conclude(of_exception(error))
            return []
        except asyncio.CancelledError:
            if connection is not None:
                connection.leave(self)
            raise

    def _call(self, connection: Connection) -> asyncio.Future[list[RunEvent]]:
        self._connection = connection
        self._done: asyncio.Future[list[RunEvent]] = self._loop.create_future()
        connection.call(self, self._request, self._upstream.silence_timeout_s)
        return self._done

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        self._status, self._headers = status, headers
        kind = headers.get(b"content-type", b"").partition(b";")[0].lower()
        if status >= 300 or b"json" in kind:
            self._held = bytearray()
        elif kind.strip() == b"text/html":
            self._end([], GARBAGE, whole=False)

    def body(self, data: bytes, whole: bool) -> None:
        if self._held is not None:
            self._hold(self._held, data, whole)
            return
        stream = self.answer
        events = stream.feed(data)
        if whole and not stream.done:
            events += stream.feed(b"\n")  # a last line may lack its end
        if stream.done or whole:
            self._end(events, CUT, whole=whole)
            return
        if stream.finish is not None:
            self._connection.patience_s = _USAGE_WAIT_S
        if events:
            self.shown = True
            try:
                self._context.emit(events)
            except Exception as error:  # noqa: BLE001  # whoever awaits the run is to hear of it
                self._connection.abort()
                if not self._done.done():
                    self._done.set_exception(error)

    def failed(self, error: CallError) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def _hold(self, held: bytearray, data: bytes, whole: bool) -> None:
        held += data
        failed = self._status >= 300
        if not whole and len(held) < (_ERROR_BYTES if failed else _WHOLE_BYTES):
            return
        body = bytes(held)
        if failed:
            self._end([], self._refused(body[:_ERROR_BYTES]), whole=whole)
        elif body.lstrip().startswith(b"data:"):
            self._end(self.answer.feed(body + b"\n"), CUT, whole=whole)
        else:
            self._end(self.answer.feed_whole(body), CUT, whole=whole)

    def _refused(self, body: bytes) -> Fault:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()
        }
        return of_status(self._status, headers, body, self._upstream.secrets)

    def _end(self, events: list[RunEvent], fault: Fault, *, whole: bool) -> None:
        self._conclude(fault)
        if not whole:
            if self.fault is None and not self.answer.over_limit:
                self._connection.settle()
            else:
                self._connection.abort()
        if not self._done.done():
            self._done.set_result(events)

    def _conclude(self, fault: Fault) -> None:
        stream = self.answer
        if stream.error is not None:
            self.fault = of_error(stream.error, self._upstream.secrets)
        elif stream.garbage:
            self.fault = GARBAGE
        elif stream.finish is None:
            self.fault = fault
