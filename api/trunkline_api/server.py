"""An API process: binds its port, serves, and ends in order."""

import asyncio
import errno
import logging
import math
import signal
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from ipaddress import ip_address
from typing import Final, cast

import uvicorn

from trunkline_api.app import Application
from trunkline_api.connection import connection_factory
from trunkline_api.settings import ApiSettings
from trunkline_api.websocket_connection import websocket_factory
from trunkline_shared.errors import StartError
from trunkline_shared.logs import log_event

logger = logging.getLogger(__name__)

_BACKLOG: Final = 2048
# Clients that reuse connections must never meet one that we close at this very moment: the
# OpenAI clients keep theirs for 5 s, proxies for up to a minute.
_KEEP_ALIVE_S: Final = 75
# After the grace, routes have this long to write their last error before they are cancelled.
_CLOSING_S: Final = 2


def choose_host(settings: ApiSettings, *, has_keys: bool, host_explicit: bool) -> str:
    """Where to bind: without any key only on loopback, unless somebody said otherwise."""
    if has_keys or _is_loopback(settings.host):
        return settings.host
    if not host_explicit:
        return "127.0.0.1"
    logger.warning(
        "listening on %s without an API key: whoever reaches this port may run agents; "
        "set --api-key or --host 127.0.0.1",
        settings.host,
    )
    return settings.host


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of `host`. Raises StartError with what is in the way."""
    bound: list[socket.socket] = []
    problem: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(_bind_problem(host, port, error)) from error
    for family, *_, address in dict.fromkeys(found):
        # Port 0 is whichever is free, but the same one on every address.
        bound_port = bound[0].getsockname()[1] if bound else port
        try:
            bound.append(_listen(family, (address[0], bound_port, *address[2:])))
        except OSError as error:
            # `localhost` is two addresses also where a machine or container has only one of them.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                _close_all(bound)
                raise StartError(_bind_problem(host, port, error)) from error
            problem = error
    if problem is not None and not bound:
        raise StartError(_bind_problem(host, port, problem)) from problem
    return bound


async def serve_api(
    application: Application,
    *,
    sockets: list[socket.socket] | None = None,
    host_explicit: bool = False,
    started: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, or until `stop` is set where the caller has the signals.

    Sets `started` when the port answers. Raises StartError.
    """
    gateway = application.gateway
    settings = gateway.settings
    if sockets is None:
        host = choose_host(settings, has_keys=bool(gateway.keys), host_explicit=host_explicit)
        sockets = bind(host, settings.port)
    stopping = asyncio.Event() if stop is None else stop
    try:
        async with application.running():
            with _signals(stopping, application) if stop is None else nullcontext():
                await serve_running(application, sockets, started, stopping)
    finally:
        _close_all(sockets)


async def serve_running(
    application: Application,
    sockets: list[socket.socket],
    started: asyncio.Event | None,
    stop: asyncio.Event,
) -> None:
    """Serves an application whose resources have started, until `stop` is set; closes `sockets`.

    Then: readiness goes off, streams go on for `grace_s`, what is left is told so and cut. A second
    signal, or whoever sets `closing`, skips the grace.
    """
    server = _Server(_uvicorn_config(application), started)
    for address in (listener.getsockname() for listener in sockets):
        log_event(logger, "listening", host=address[0], port=address[1])
    closer = asyncio.create_task(_close(server, stop, application), name="closer")
    try:
        await server.serve(sockets=sockets)
    finally:
        closer.cancel()
        with suppress(asyncio.CancelledError):
            await closer
        _close_all(sockets)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_started: asyncio.Event | None) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_started is not None:
            self._on_started.set()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn would raise them again when it is done, before our own resources are closed.
        yield


def _uvicorn_config(application: Application) -> uvicorn.Config:
    settings = application.gateway.settings
    write_timeout_s = settings.write_timeout_s
    return uvicorn.Config(
        application.asgi,
        # uvicorn calls whatever is no name, though it says that it wants a class.
        http=cast(type[asyncio.Protocol], connection_factory(write_timeout_s)),
        ws=cast(type[asyncio.Protocol], websocket_factory(write_timeout_s)),
        # What is too large up to here is refused in words, what is larger ends the socket.
        ws_max_size=2 * settings.max_body_bytes,
        ws_ping_interval=settings.websocket_ping_s,
        ws_ping_timeout=write_timeout_s,
        lifespan="off",  # `running` does it, and its errors stay what they are
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.grace_s) + _CLOSING_S,
    )


async def _close(server: uvicorn.Server, stopping: asyncio.Event, application: Application) -> None:
    await stopping.wait()
    shutdown = application.gateway.shutdown
    # Before uvicorn hears of it: from then on a disconnect is no sign that a client left.
    shutdown.draining.set()
    settings = application.gateway.settings
    log_event(logger, "draining", grace_s=settings.grace_s)
    # A proxy that has not yet noticed still sends requests here.
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.notice_s):
            await shutdown.closing.wait()
    server.should_exit = True
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.grace_s):
            await shutdown.closing.wait()
    shutdown.closing.set()


@contextmanager
def _signals(stopping: asyncio.Event, application: Application) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stopping.is_set():
            application.gateway.shutdown.closing.set()
        stopping.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _listen(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        # Now, not when serving begins: only listening finds out that somebody else does.
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _close_all(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def _bind_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is not allowed for this user; choose one above 1023"
    return f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --host"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return False
