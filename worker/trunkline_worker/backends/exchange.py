"""One call of an upstream: the request, its streamed answer, and its socket."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from trunkline_shared.deadline import Silence
from trunkline_shared.events import RunEvent
from trunkline_worker.backends.chat_stream import ChatStream
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
_END_WAIT_S: Final = 0.2  # for the end of the body, after [DONE]


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where and how to call one model."""

    session: aiohttp.ClientSession
    url: URL
    headers: Mapping[str, str]
    timeout: aiohttp.ClientTimeout
    silence_timeout_s: float
    secrets: Sequence[str] = field(repr=False)

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        session: aiohttp.ClientSession,
        *,
        connect_timeout_s: float,
        silence_timeout_s: float,
    ) -> "Upstream":
        base = URL(spec.base_url)
        headers = CIMultiDict({"Content-Type": "application/json", "User-Agent": "trunkline"})
        headers["Accept"] = "text/event-stream, application/json"
        headers["Accept-Encoding"] = "identity"  # compressors hold tokens back
        if spec.api_key is not None:
            headers["Authorization"] = f"Bearer {spec.api_key}"
        headers.update(spec.extra_headers)
        timeout = aiohttp.ClientTimeout(
            # Silence is watched by `Exchange`: aiohttp would move a timer at every read.
            total=None,
            sock_connect=connect_timeout_s,
            sock_read=None,
        )
        hidden = (spec.api_key or "", *spec.extra_headers.values(), base.authority)
        return cls(
            session,
            base.joinpath("chat", "completions").with_query(base.query),
            headers,
            timeout,
            silence_timeout_s,
            tuple(secret for secret in hidden if len(secret) >= 6),
        )


class Exchange:
    """Reads one answer. `read` until `ended`; whoever makes one calls `close`, come what may."""

    def __init__(self, upstream: Upstream, body: bytes, limit: int | None) -> None:
        self.stream = ChatStream(limit)
        self.ended = False
        self.shown = False
        self.fault: Fault | None = None
        """Why there is no whole answer. Only after the end."""
        self._upstream = upstream
        self._body = body
        self._response: aiohttp.ClientResponse | None = None
        self._silence = Silence(upstream.silence_timeout_s)

    async def run(self, emit: Callable[[Sequence[RunEvent]], None]) -> list[RunEvent]:
        """Emits what arrives and returns the events of the last read, which may be none."""
        try:
            while True:
                events = await self.read()
                if self.ended:
                    return events
                self.shown = True
                emit(events)
        except BaseException:
            self.close()
            raise

    async def read(self) -> list[RunEvent]:
        """What arrived since the last call, at least one event, or the last ones at the end."""
        try:
            events = await self._read()
        except (aiohttp.ClientError, TimeoutError) as error:
            events = []
            self._end(of_exception(error))
        except asyncio.CancelledError:
            if not self._silence.gave_up():
                raise
            events = []
            self._end(of_exception(TimeoutError()))
        return events

    async def settle(self) -> None:
        """Waits a moment for the end of a whole answer, so that its connection is used again."""
        response = self._response
        if response is None or response.connection is None or self.stream.over_limit:
            return
        try:
            async with asyncio.timeout(_END_WAIT_S):
                await response.content.readany()
        except (aiohttp.ClientError, TimeoutError):
            return

    def close(self) -> None:
        """Closes the socket at once unless the answer was read to its end."""
        self._silence.close()
        response = self._response
        if response is None:
            return
        connection = response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        response.close()

    async def _read(self) -> list[RunEvent]:
        if self._response is None:
            self._response = await self._post()
            if self.ended:
                return []
            if "json" in self._response.content_type:
                return await self._read_whole(self._response)
        content = self._response.content
        while True:
            if self.stream.finish is None:
                data = await content.readany()
                self._silence.heard()
            else:
                async with asyncio.timeout(_USAGE_WAIT_S):
                    data = await content.readany()
            events = self.stream.feed(data or b"\n")  # a last line may lack its end
            if self.stream.done or not data:
                self._end(CUT)
            if events or self.ended:
                return events

    async def _post(self) -> aiohttp.ClientResponse:
        upstream = self._upstream
        response = await upstream.session.post(
            upstream.url,
            data=self._body,
            headers=upstream.headers,
            timeout=upstream.timeout,
            allow_redirects=False,  # the key is for this host alone
        )
        self._silence.heard()
        self._response = response
        if response.status >= 300:
            said = await self._read_body(response, _ERROR_BYTES)
            self._end(of_status(response.status, response.headers, said, upstream.secrets))
        elif response.content_type == "text/html":
            self._end(GARBAGE)
        return response

    async def _read_whole(self, response: aiohttp.ClientResponse) -> list[RunEvent]:
        body = await self._read_body(response, _WHOLE_BYTES)
        streamed = body.lstrip().startswith(b"data:")
        events = self.stream.feed(body + b"\n") if streamed else self.stream.feed_whole(body)
        self._end(CUT)
        return events

    async def _read_body(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        body = bytearray()
        while len(body) < most:
            data = await response.content.readany()
            if not data:
                break
            self._silence.heard()
            body += data
        return bytes(body)

    def _end(self, fault: Fault) -> None:
        self.ended = True
        stream = self.stream
        if stream.error is not None:
            self.fault = of_error(stream.error, self._upstream.secrets)
        elif stream.garbage:
            self.fault = GARBAGE
        elif stream.finish is None:
            self.fault = fault
