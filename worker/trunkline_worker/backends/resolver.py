"""Names that callers chose: those of link-local addresses resolve to nothing."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from trunkline_shared.addresses import is_link_local


class LinkLocal(OSError):
    """A name leads to nothing but addresses that no profile may name."""


class GuardedResolver(AbstractResolver):
    """aiohttp's own, without those addresses. Never asked about a URL that holds an address."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises LinkLocal, which is an OSError as those of the system are."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if not is_link_local(each["host"])]
        if found and not allowed:
            raise LinkLocal(None, "the name leads to a link-local address")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()
