"""The tools of an MCP server."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from trunkline_shared.config.toolsets import Mcp
from trunkline_shared.logs import log_event
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec
from trunkline_worker.toolsets.mcp_connection import McpConnection, unreachable
from trunkline_worker.toolsets.mcp_result import specs, text_of_result

if TYPE_CHECKING:
    from mcp import Client, MCPError
    from mcp.client._transport import TransportStreams
    from mcp_types import CallToolResult, Tool

logger = logging.getLogger("trunkline.mcp")

_HANDED_ON: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
_LAUNCHERS: Final = ("bunx", "npx", "uvx")
_OPEN_S: Final = 5.0
_LIST_S: Final = 90.0  # connecting included
_RELIST_S: Final = 2.0
_CANCEL_S: Final = 0.8
_MOST_PAGES: Final = 100


class McpToolset:
    """A server that is down takes its tools along, not the agent: it is tried again by the runs
    that come, and a call of a tool that was there before fails with a sentence for the model.
    """

    def __init__(
        self, config: Mcp, environ: Mapping[str, str], *, known_for_s: float = 5.0
    ) -> None:
        """`known_for_s`: the tools are not asked for again so long."""
        self._config = config
        self._environ = environ
        self._connection = McpConnection(self.name, self._transport)
        self._tools: Mapping[str, tuple[str, ToolSpec]] | None = None
        self._known_for_s = known_for_s
        self._listed_until = 0.0
        self._listing: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._config.name or _name(self._config.words, self._config.url)

    async def open(self) -> None:
        """Connects, so that the first run need not wait; a slow server is not waited for."""
        import mcp  # noqa: F401  # takes seconds, which the first run should not pay

        if self._config.command and not self._config.words:
            raise ValueError("toolset mcp: the command is empty")
        with suppress(ToolError):
            await self.tools()

    async def tools(self) -> Sequence[ToolSpec]:
        """Asked of the server anew, so that it may change them at any time; those known from before
        where it is slow, or away."""
        if asyncio.get_running_loop().time() >= self._listed_until:
            if self._listing is None or self._listing.done():
                self._listing = asyncio.create_task(self._list(), name=f"mcp-tools:{self.name}")
            patience_s = _RELIST_S if self._tools else _OPEN_S
            await asyncio.wait({self._listing}, timeout=patience_s)
        if self._tools is None:
            raise ToolError(unreachable(self.name))
        return [spec for _, spec in self._tools.values()]

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        known = (self._tools or {}).get(name)
        if known is None:
            raise ToolError(f"The MCP server {self.name} has no tool {name} now.")
        return text_of_result(await self._called(known[0], arguments))

    async def aclose(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            await asyncio.wait({self._listing})
        await self._connection.aclose()

    async def _list(self) -> None:
        from mcp import MCPError

        try:
            async with asyncio.timeout(_LIST_S):
                listed = await _all_tools(await self._connection.client())
        except ToolError:
            return  # the connection has told the log
        except (MCPError, TimeoutError, RuntimeError, ValueError) as error:
            cause = f"{type(error).__name__}: {error}"[:300]
            log_event(
                logger, "mcp tools not listed", level=logging.WARNING, server=self.name, cause=cause
            )
            return
        self._tools = specs(listed, self._config)
        self._listed_until = asyncio.get_running_loop().time() + self._known_for_s

    async def _called(
        self, name: str, arguments: Mapping[str, Any], *, again: bool = True
    ) -> "CallToolResult":
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        client = await self._connection.client()
        try:
            async with asyncio.timeout(self._config.timeout_s):
                result = await _soon_cancelled(client, name, arguments)
        except TimeoutError as error:
            raise ToolError(f"No answer in {self._config.timeout_s:g} s.") from error
        except MCPError as error:
            if _session_lost(error):
                self._connection.drop(client)
                if again:  # it has refused the call as a whole
                    return await self._called(name, arguments, again=False)
            if error.code == CONNECTION_CLOSED:
                self._connection.drop(client)
                raise ToolError(
                    f"The connection to the MCP server {self.name} broke during the call: "
                    "nobody knows whether it was done."
                ) from error
            raise ToolError(str(error)) from error
        except (RuntimeError, ValueError) as error:
            # RuntimeError: the result is not what its own schema promises, or asks for input.
            raise ToolError(f"The MCP server {self.name} answered what cannot be used.") from error
        if result.is_error:
            raise ToolError(text_of_result(result) or "The tool failed.")
        return result

    def _transport(self) -> "AbstractAsyncContextManager[TransportStreams]":
        config = self._config
        if config.url:
            from trunkline_worker.toolsets.mcp_http import http_transport

            return http_transport(config.url, config.headers, sse=config.transport == "sse")
        from trunkline_worker.toolsets.mcp_stdio import stdio_transport

        env = {key: self._environ[key] for key in _HANDED_ON if key in self._environ}
        return stdio_transport(self.name, config.words, env | config.env, config.cwd)


async def _all_tools(client: "Client") -> "list[Tool]":
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


async def _soon_cancelled(
    client: "Client", name: str, arguments: Mapping[str, Any]
) -> "CallToolResult":
    """The call. Where it is cancelled, telling the server so takes no longer than it may."""
    calling = asyncio.create_task(client.call_tool(name, dict(arguments)), name=f"mcp-call:{name}")
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        calling.cancel()
        calling.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen
        await asyncio.wait({calling}, timeout=_CANCEL_S)
        raise


def _name(command: Sequence[str], url: str | None) -> str:
    """The program, not what fetches it; nothing of its arguments, which may hold a key."""
    if url:
        return urlsplit(url).hostname or url
    words = [word for word in command if not word.startswith("-")] or ["mcp"]
    launched = words[0] in _LAUNCHERS and len(words) > 1
    return words[launched].rpartition("/")[2]


def _session_lost(error: "MCPError") -> bool:
    """The server was started anew, and knows nothing of us."""
    from mcp_types import INVALID_REQUEST

    return error.code == INVALID_REQUEST and error.message == "Session terminated"
