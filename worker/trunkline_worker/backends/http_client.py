"""Connections to model providers: made when they are needed, kept for the next call."""

import asyncio
import os
import re
import socket
import ssl
from asyncio.staggered import staggered_race
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Final
from urllib.parse import quote, urlsplit

from trunkline_worker.backends.http_connection import (
    Connection,
    ConnectTimeout,
    Origin,
    Unreachable,
)
from trunkline_worker.backends.resolver import Address, Resolver

_STAGGER_S: Final = 0.25  # an address that leads nowhere holds the next one up for no longer
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Who could set these could make one request look like two.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_IN_PATH: Final = "/%:@!$&'()*+,;=~"


class HttpClient:
    """As many connections as there are calls: a worker's slots are the limit."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self.resolver = resolver or Resolver()
        self._open: set[Connection] = set()
        self._idle: dict[Origin, dict[Connection, None]] = {}

    def take(self, origin: Origin) -> Connection | None:
        """The kept connection that was used last; it is the caller's, who calls at once."""
        idle = self._idle.get(origin)
        while idle:
            connection, _ = idle.popitem()
            if connection.usable:
                return connection
        return None

    async def connect(self, origin: Origin, timeout_s: float) -> Connection:
        """A new connection, TLS included. Raises Unreachable."""
        try:
            async with asyncio.timeout(timeout_s):
                sock = await _dial(await self.resolver.resolve(origin.host, origin.port))
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: Connection(origin, self),
                    sock=sock,
                    ssl=self.tls if origin.tls else None,
                    server_hostname=origin.host.rstrip(".") if origin.tls else None,
                )
        except TimeoutError:
            raise ConnectTimeout from None
        except OSError as error:
            raise Unreachable(_cause(error)) from error
        except UnicodeError:
            raise Unreachable("no name that can be looked up") from None
        return connection

    async def aclose(self) -> None:
        for connection in self._open:
            connection.abort()
        await asyncio.sleep(0)  # the transports close their sockets in the next turn

    def made(self, connection: Connection) -> None:
        self._open.add(connection)

    def idle(self, connection: Connection) -> None:
        self._idle.setdefault(connection.origin, {})[connection] = None

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None:
            idle.pop(connection, None)
            if not idle:
                del self._idle[connection.origin]

    @cached_property
    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


def _cause(error: OSError) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError() | socket.gaierror():  # they have numbers of their own
            return error.strerror
    return os.strerror(error.errno) if error.errno else None  # a loop's own words hold addresses


async def _dial(addresses: Sequence[Address]) -> socket.socket:
    if len(addresses) == 1:
        return await _reach(addresses[0])
    first: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

    async def attempt(address: Address) -> None:
        sock = await _reach(address)
        if first.done():  # a race that is left may still go on for a moment
            sock.close()
        else:
            first.set_result(sock)

    try:
        attempts = [partial(attempt, address) for address in addresses]
        _, _, errors = await staggered_race(attempts, _STAGGER_S)
    except asyncio.CancelledError:
        if not first.cancel():
            first.result().close()
        raise
    if not first.done():
        raise next((e for e in errors if isinstance(e, OSError)), OSError("no address"))
    return first.result()


async def _reach(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def origin_of(url: str) -> Origin:
    """Raises ValueError for what is no HTTP URL."""
    try:
        parts = urlsplit(url)
        host, port, tls = parts.hostname or "", parts.port, parts.scheme == "https"
        name = host if host.isascii() else host.encode("idna").decode()
    except ValueError:  # whose words may quote a password in the URL
        name = ""
    if not name or parts.scheme not in ("http", "https"):
        raise ValueError("a URL begins with http:// or https:// and names a host")
    return Origin(name, port or (443 if tls else 80), tls)


def post_head(base_url: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a POST up to the number of its body's bytes, which follows.

    Raises ValueError for a URL or a header that cannot be sent.
    """
    parts, origin = urlsplit(base_url), origin_of(base_url)
    target = quote(parts.path.rstrip("/") + path, safe=_IN_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_IN_PATH + "?")
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if parts.port not in (None, 443 if origin.tls else 80):
        host += f":{origin.port}"
    named = {name.lower(): (name, value) for name, value in {"Host": host, **headers}.items()}
    for name, value in named.values():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _FRAMING:
            raise ValueError(f"the header {name!r} cannot be sent")
        if re.search(r"[\r\n\0]", value):
            raise ValueError(f"the header {name} has a line break in its value")
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.values())]
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode()
