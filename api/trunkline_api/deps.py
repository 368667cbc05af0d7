"""From a FastAPI request to the values that routes work with."""

from collections.abc import Awaitable, Callable

from fastapi import Request

from trunkline_api.auth import Principal
from trunkline_api.exchange import exchange_of
from trunkline_api.gateway import Gateway


def principal_of(gateway: Gateway) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that lets only holders of a key pass, and notes who it was."""

    async def authenticate(request: Request) -> Principal:
        principal = await gateway.keys.authenticate(request.scope["headers"])
        exchange_of(request.scope).principal = principal.name
        return principal

    return authenticate
