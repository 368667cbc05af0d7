"""The client of one request, past ASGI, whose messages would be paid for with each token."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from trunkline_api.exchange import Header, Receive, Scope

EXTENSION: Final = "trunkline.client"  # in a scope's `extensions`: makes the client, or None


class Client(Protocol):
    """Whoever sent a request."""

    def body(self) -> bytes | None:
        """The request's body if all of it has arrived, as nearly always; else it is received.

        Receiving what is here costs 8 µs, most of them for its time limit.
        """

    @property
    def takes_head(self) -> bool:
        """Whether `begin` may be called now; else the reply's head has to go by `send`."""

    def begin(self, headers: Sequence[Header], piece: bytes, *, last: bool = False) -> None:
        """Sends the head of a reply with status 200 whose length is not known, and the first piece
        of its body, which may be all of it.

        It trusts the headers: a server looks at each for what no header holds, which costs 4 µs.
        """

    @property
    def takes_more(self) -> bool:
        """Whether `write` may be called now; else the reply's next piece has to go by `send`."""

    def write(self, piece: bytes, *, last: bool = False) -> None:
        """Does at once what `send` would do with a piece of a body."""

    def on_leaving(self, left: Callable[[], None]) -> None:
        """Has `left` called when the client leaves, or has left, before `forget`."""

    async def forget(self) -> None:
        """From now on it does not matter whether the client leaves."""


def client_of(scope: Scope, receive: Receive) -> Client:
    """The client as our own server knows it, or as any other does."""
    make: Callable[[], Client | None] | None = scope.get("extensions", {}).get(EXTENSION)
    return (make and make()) or AsgiClient(receive)


class AsgiClient:
    """A client behind any ASGI server: a task waits for its leaving."""

    takes_head: Final = False
    takes_more: Final = False

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    def body(self) -> None:
        """Only `receive` knows."""

    def begin(self, headers: Sequence[Header], piece: bytes, *, last: bool = False) -> None:
        raise NotImplementedError("ASGI has no way past 'send'")

    def write(self, piece: bytes, *, last: bool = False) -> None:
        raise NotImplementedError("ASGI has no way past 'send'")

    def on_leaving(self, left: Callable[[], None]) -> None:
        self._watch = asyncio.create_task(self._wait(left), name="disconnect")

    async def forget(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _wait(self, left: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left()
