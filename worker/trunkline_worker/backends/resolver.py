"""The addresses of providers' names, remembered for some seconds. Profiles' are guarded."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from trunkline_shared.addresses import is_link_local
from trunkline_worker.backends.http_connection import Unreachable

_REMEMBERED_S: Final = 10.0
_REMEMBERED: Final = 256

Address: TypeAlias = tuple[int, tuple[Any, ...]]
"""A family, and what a socket of it connects to: the address, the port, and for IPv6 two more."""
LookUp: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]


class LinkLocal(Unreachable):
    """A name leads to nothing but addresses that no profile may name."""


async def of_system(host: str, port: int) -> Sequence[Address]:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]


def guarded(look_up: LookUp = of_system) -> LookUp:
    """`look_up` without link-local addresses. Raises LinkLocal where it found no others."""

    async def allowed(host: str, port: int) -> Sequence[Address]:
        found = await look_up(host, port)
        addresses = [each for each in found if not is_link_local(each[1][0])]
        if found and not addresses:
            raise LinkLocal("link-local address")
        return addresses

    return allowed


class _Name:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.addresses: Sequence[Address] = ()
        self.until = 0.0


class Resolver:
    """Looks a name up once for all who ask at the same time, and again after some seconds."""

    def __init__(self, look_up: LookUp = of_system) -> None:
        self._look_up = look_up
        self._names: dict[tuple[str, int], _Name] = {}

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        if len(self._names) > _REMEMBERED:
            self._names.clear()
        clock = asyncio.get_running_loop().time
        name = self._names.setdefault((host, port), _Name())
        async with name.lock:
            if not name.addresses or name.until < clock():
                name.addresses = await self._look_up(host, port)
                name.until = clock() + _REMEMBERED_S
            return name.addresses
