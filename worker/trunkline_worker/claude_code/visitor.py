"""HTTP/1.1 as a server, for one command line on a unix socket."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import httptools
import orjson


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
    def asked(self, visitor: "Visitor", asked: Asked) -> asyncio.Task[None]: ...


class Visitor(asyncio.Protocol):
    """One connection, which asks for one thing at a time. Who leaves takes back what it asked."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._answering: asyncio.Task[None] | None = None
        self._begun = False
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
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
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0].decode("latin-1")
        method = self._parser.get_method().decode("latin-1")
        asked = Asked(method, path, self._headers, b"".join(self._body))
        self._url, self._headers, self._body = b"", {}, []
        self._begun = False
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

    def refuse(self, status: int, message: str) -> None:
        """An error of Anthropic's form; an answer that has begun just ends."""
        if self._begun:
            self.end()  # with less, the command line would not read what was said
            return
        error = {"type": "error", "error": {"type": "api_error", "message": message}}
        self.begin(status, "application/json")
        self.say(orjson.dumps(error))
        self.end()

    def abort(self) -> None:
        self._transport.abort()
