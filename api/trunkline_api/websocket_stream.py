"""A run told to one lane of a WebSocket: the events of its stream, a message each."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from trunkline_api.client import Client
from trunkline_api.errors import Send
from trunkline_api.exchange import Exchange, Header, Scope
from trunkline_api.hub import ReaderClosed
from trunkline_api.settings import ApiSettings
from trunkline_api.stream import Renderer, Stream
from trunkline_api.wire.websocket import in_lane

OUTLET: Final = "trunkline.outlet"  # in a scope's `extensions`: the way past ASGI


class Outlet(Protocol):
    """The client's end of a WebSocket, past ASGI, whose messages would be paid for per token."""

    @property
    def takes_more(self) -> bool:
        """Whether `write` may be called now; else a message has to go by `send`."""

    def write(self, message: bytes) -> None:
        """Does at once what `send` would do with a text."""


class _NoOutlet:
    takes_more: Final = False

    def write(self, message: bytes) -> None:
        raise NotImplementedError("ASGI has no way past 'send'")


class Messages:
    """The way to one client. A client that reads nothing is the connection's business."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.outlet: Outlet = scope.get("extensions", {}).get(OUTLET) or _NoOutlet()
        self._send = send
        self._is_closed = False

    async def send(self, event: bytes) -> None:
        """Waits while more is on its way than the client takes. Who was sent away gets nothing.

        Raises ReaderClosed when the client has left.
        """
        if self.outlet.takes_more:
            self.outlet.write(event)
        elif not self._is_closed:
            try:
                await self._send({"type": "websocket.send", "text": event.decode()})
            except OSError as error:  # so ASGI has it
                raise ReaderClosed(shutting_down=False) from error

    async def close(self, code: int, reason: str) -> None:
        self._is_closed = True
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


class WebSocketStream(Stream):
    """One response, as server-sent events would tell it, without what frames those."""

    __slots__ = ("_lane", "_messages", "client")

    def __init__(
        self,
        renderer: Renderer,
        messages: Messages,
        lane: str | None,
        exchange: Exchange,
        settings: ApiSettings,
    ) -> None:
        self.client = _Straight(messages.outlet, lane)
        super().__init__(renderer, self.client, _never, exchange, settings)
        self._messages = messages
        self._lane = lane

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        self._began = True
        self._exchange.status = 200
        for event in events_of(data, self._lane):
            await self._messages.send(event)


def events_of(data: bytes, lane: str | None) -> Iterator[bytes]:
    """The JSON of the server-sent events in `data`; comments are left out."""
    for block in data.split(b"\n\n"):
        event = block.partition(b"\ndata: ")[2]  # a newline inside of JSON is always escaped
        if event:
            yield in_lane(event, lane)


class _Straight(Client):
    """The same client for the events that pass its task by. Its leaving is that task's end."""

    takes_head: Final = False

    def __init__(self, outlet: Outlet, lane: str | None) -> None:
        self._outlet = outlet
        self._lane = lane

    def body(self) -> None:
        """It has no body."""

    def begin(self, headers: Sequence[Header], piece: bytes, *, last: bool = False) -> None:
        raise NotImplementedError("a message has no head")

    @property
    def takes_more(self) -> bool:
        return self._outlet.takes_more

    def write(self, piece: bytes, *, last: bool = False) -> None:
        for event in events_of(piece, self._lane):
            self._outlet.write(event)

    def on_leaving(self, left: Callable[[], None]) -> None:
        """Who is cancelled needs no word of it."""

    async def forget(self) -> None:
        """Nothing was noted."""


def _never(message: Any) -> Awaitable[None]:
    raise NotImplementedError("all goes by '_write'")
