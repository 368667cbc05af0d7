"""One connection to an MCP server, shared by all runs and made again when it broke."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from trunkline_shared.logs import log_event
from trunkline_worker.toolsets.base import ToolError

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client._transport import TransportStreams

    Transport = AbstractAsyncContextManager[TransportStreams]

logger = logging.getLogger("trunkline.mcp")

_CONNECT_S: Final = 60.0  # some commands install their server first
_CLOSE_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0


class McpConnection:
    """Opened by the first who needs it. A server that could not be reached is left alone for a
    while, twice as long each time.
    """

    def __init__(self, name: str, transport: "Callable[[], Transport]") -> None:
        self._name = name
        self._transport = transport
        self._session: _Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._not_before = 0.0

    async def client(self) -> "Client":
        """The open connection. Raises ToolError where there is none, for now."""
        if self._session is None or self._session.over.is_set():
            if asyncio.get_running_loop().time() < self._not_before:
                raise ToolError(unreachable(self._name))
            self._session = self._connect()
        return await asyncio.shield(self._session.ready)

    def drop(self, client: "Client") -> None:
        """Whoever saw `client` break says so; the next call makes a new connection."""
        if self._session is not None and self._session.has(client):
            self._session.over.set()

    async def aclose(self) -> None:
        if self._session is not None:
            self._session.over.set()
            if not self._session.connected:
                self._session.task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _connect(self) -> "_Session":
        session = _Session(self._name, self._transport)
        self._tasks.add(session.task)
        session.task.add_done_callback(lambda task: self._ended(session, task))
        return session

    def _ended(self, session: "_Session", task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if not session.connected:
            pause_s = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
            self._failures += 1
            self._not_before = asyncio.get_running_loop().time() + pause_s
        else:
            self._failures = 0
        if error is not None or not session.connected:
            message = "mcp connection broke" if session.connected else "mcp server not reached"
            log_event(
                logger, message, level=logging.WARNING, server=self._name, cause=_cause(error)
            )


class _Session:
    """One connection, from the first try to the end, in a task of its own: what a task opens here
    the same task must close."""

    def __init__(self, name: str, transport: "Callable[[], Transport]") -> None:
        self.ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()
        self._name = name
        self._transport = transport
        self.task = asyncio.create_task(self._hold(), name=f"mcp:{name}")

    @property
    def connected(self) -> bool:
        """Whether it ever was."""
        return self.ready.done() and self.ready.exception() is None

    def has(self, client: "Client") -> bool:
        return self.connected and self.ready.result() is client

    async def _hold(self) -> None:
        from mcp import Client

        try:
            async with AsyncExitStack() as stack:
                transport = watched(self._transport(), self.over)
                client = Client(transport, cache=None)
                async with asyncio.timeout(_CONNECT_S):
                    await stack.enter_async_context(client)
                self.ready.set_result(client)
                await self.over.wait()
        finally:
            self.over.set()
            if not self.ready.done():
                self.ready.set_exception(ToolError(unreachable(self._name)))
                self.ready.exception()  # whether anyone waits or not


@asynccontextmanager
async def watched(transport: "Transport", over: asyncio.Event) -> "AsyncIterator[TransportStreams]":
    """`transport`, setting `over` when nothing more will be heard."""
    async with transport as (read, write):
        yield _Watched(read, over), write


class _Watched:
    """A stream of messages."""

    def __init__(self, stream: Any, over: asyncio.Event) -> None:
        self._stream = stream
        self._over = over

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # `last_context`, which not every stream has

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._over.set()
            raise

    async def __aenter__(self) -> "_Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._stream.__aexit__(*error)


def unreachable(name: str) -> str:
    """What a model is told of a server that is away."""
    return f"The MCP server {name} cannot be reached now; later it may be."


def _cause(error: BaseException | None) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:300] if error else "cancelled"
