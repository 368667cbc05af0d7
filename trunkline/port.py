"""The port that is to be opened: is it free, and is it open yet?"""

import asyncio
import errno
import socket

from trunkline_shared.errors import StartError

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def free_port(host: str, port: int) -> int:
    """`port` if it can be bound on `host`, or any free one for 0. Raises StartError if not.

    It is released again at once, so this is a good message early, not a reservation.
    """
    try:
        addresses = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in addresses:
            port = _bind(family, (address[0], port, *address[2:]))
    except (OSError, OverflowError) as error:
        raise StartError(_reason(host, port, error)) from error
    return port


def reachable_host(host: str) -> str:
    """The host under which this machine reaches what listens on `host`."""
    return _ANY.get(host, host)


def base_url(host: str, port: int) -> str:
    shown = reachable_host(host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


async def until_open(host: str, port: int) -> None:
    """Return when something accepts connections there."""
    while True:
        try:
            _, writer = await asyncio.open_connection(reachable_host(host), port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return


def _bind(family: int, address: tuple[object, ...]) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
        bound: int = probe.getsockname()[1]
        return bound


def _reason(host: str, port: int, error: Exception) -> str:
    match error:
        case OverflowError():
            return f"--port (TRUNKLINE_PORT): expected 0 to 65535, got {port}"
        case OSError(errno=errno.EADDRINUSE):
            return f"port {port} on {host} is in use: stop what listens there, or give --port"
        case OSError(errno=errno.EACCES):
            return f"port {port} on {host} needs privileges: give a --port above 1023"
        case _:
            text = error.strerror if isinstance(error, OSError) else str(error)
            return f"cannot listen on {host} port {port}: {text}; give another --host"
