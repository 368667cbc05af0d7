"""An MCP server at a URL: streamable HTTP, or the older SSE. Imported where there is one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from trunkline_worker.toolsets.mcp_stdio import MAX_MESSAGE

_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 3600.0  # a call's own time limit is the toolset's


@asynccontextmanager
async def http_transport(
    url: str, headers: Mapping[str, str], *, sse: bool
) -> AsyncIterator[TransportStreams]:
    """Follows no redirect to another host, which would get the headers."""
    if sse:
        async with sse_client(url, dict(headers), _CONNECT_S, _SILENCE_S) as streams:
            yield streams
        return
    timeout = httpx2.Timeout(_CONNECT_S, read=_SILENCE_S)
    hooks = {"response": [_bound]}
    async with (
        httpx2.AsyncClient(headers=dict(headers), timeout=timeout, event_hooks=hooks) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE) as streams,
    ):
        yield streams


async def _bound(response: httpx2.Response) -> None:
    events = response.headers.get("content-type", "").startswith("text/event-stream")
    if not events and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """An answer that the client reads as a whole: it ends where it is too long."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_MESSAGE
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.StreamError("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
