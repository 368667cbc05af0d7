"""HTTP/1.1 as a server, for one command line on a unix socket."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, cast

import httptools
import orjson

_HEAD_BYTES: Final = 64 << 10  # from strangers


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; names of headers are in lower case, the path is without its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class House(Protocol):
    """Who answers visitors."""

    def came(self, visitor: "Visitor") -> None: ...
    def left(self, visitor: "Visitor") -> None: ...
    def knows(self, headers: Mapping[str, str]) -> bool: ...
    def has_room(self) -> bool: ...
    def asked(self, visitor: "Visitor", asked: Asked) -> asyncio.Task[None]: ...


class _Enough(Exception):
    """No more of what a visitor sends is read."""


class Visitor(asyncio.Protocol):
    """One connection, which asks for one thing at a time. Who leaves takes back what it asked.

    Of strangers, and of those for whose words there is no room, nothing is kept.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._answering: asyncio.Task[None] | None = None
        self._begun = False
        self._parser = httptools.HttpRequestParser(self)
        self._forget()
        self.known = False
        """Whether it has shown the key."""
        self.size = 0
        """Bytes of what it asks for, until the answer to that has ended."""

    def _forget(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type
        self._house.came(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answering is not None:
            self._answering.cancel()
        self._house.left(self)
        del self._parser  # it and we hold each other

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not isinstance(error.__context__, _Enough):
                self.abort()
            return
        if (self.size > _HEAD_BYTES and not self.known) or not self._house.has_room():
            self.abort()

    def on_message_begin(self) -> None:
        if self._answering is not None:
            self.abort()
            raise _Enough

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.known = self._house.knows(self._headers)
        if not self.known:
            self._send_away(401, "This is another run's.")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        if not self._house.has_room():
            self._send_away(413, "That is more than can be asked at once.")

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0].decode("latin-1")
        method = self._parser.get_method().decode("latin-1")
        asked = Asked(method, path, self._headers, b"".join(self._body))
        self._forget()
        self._answering = self._house.asked(self, asked)

    def begin(self, status: int, content_type: str) -> None:
        """The head of an answer, whose body comes in pieces."""
        self._begun = True
        head = f"HTTP/1.1 {status} OK\r\ncontent-type: {content_type}\r\n"
        self._transport.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode("latin-1"))

    def say(self, data: bytes) -> None:
        if data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self._transport.write(b"0\r\n\r\n")
        self._begun, self.size = False, 0
        self._answering = None  # it only has to return

    def refuse(self, status: int, message: str) -> None:
        """An error of Anthropic's form; an answer that has begun just ends."""
        if self._begun:
            self.end()  # with less, the command line would not read what was said
            return
        error = {"type": "error", "error": {"type": "api_error", "message": message}}
        self.begin(status, "application/json")
        self.say(orjson.dumps(error))
        self.end()

    def _send_away(self, status: int, message: str) -> NoReturn:
        self._forget()
        self.refuse(status, message)
        self._transport.close()
        raise _Enough

    def abort(self) -> None:
        self._transport.abort()
