"""An MCP server at a URL: streamable HTTP, or the older SSE."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from trunkline_worker.toolsets.mcp_stdio import MAX_MESSAGE

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_CONNECT_S: Final = 10.0
_SILENCE_S: Final = 3600.0  # a call's own time limit is the toolset's


@asynccontextmanager
async def http_transport(
    url: str, headers: Mapping[str, str], *, sse: bool
) -> "AsyncIterator[TransportStreams]":
    """Follows no redirect to another host, which would get the headers."""
    import httpx2
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(_CONNECT_S, read=_SILENCE_S)
    if sse:
        async with sse_client(url, dict(headers), _CONNECT_S, _SILENCE_S) as streams:
            yield streams
        return
    async with (
        httpx2.AsyncClient(headers=dict(headers), timeout=timeout) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE) as streams,
    ):
        yield streams
