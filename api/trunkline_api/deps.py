"""From a FastAPI request to the values that routes work with."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from trunkline_api.auth import Principal
from trunkline_api.body import ClientLeft, read_body
from trunkline_api.errors import ApiError, unprocessable
from trunkline_api.exchange import exchange_of
from trunkline_api.gateway import Gateway
from trunkline_api.headers import by_name
from trunkline_api.time_limit import TimeLimit
from trunkline_api.wire.problems import WireT, parse

_Model = TypeVar("_Model", bound=BaseModel)


def principal_of(gateway: Gateway) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that lets only holders of a key pass, and notes who it was."""

    async def authenticate(request: Request) -> Principal:
        principal = await gateway.keys.authenticate(by_name(request.scope["headers"]))
        exchange_of(request.scope).principal = principal.name
        return principal

    return authenticate


def admin_of(gateway: Gateway) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that lets only those pass who may change what all share."""
    authenticate = principal_of(gateway)

    async def check(request: Request) -> Principal:
        principal = await authenticate(request)
        if not principal.admin:
            message = "This API key may not manage what all keys share; use one of an admin."
            raise ApiError(403, message, code="admin_only")
        return principal

    return check


def body_as(gateway: Gateway, model: type[_Model]) -> Callable[[Request], Awaitable[_Model]]:
    """A dependency that reads the body as a route under /api wants it; bounded, else 422.

    An empty body is an empty object.
    """
    settings = gateway.settings
    limit = TimeLimit(settings.body_timeout_s)

    async def read(request: Request) -> _Model:
        try:
            body = await _body(request, settings.max_body_bytes, limit)
            return model.model_validate_json(body or b"{}")
        except ValidationError as error:
            mistakes = error.errors(include_url=False, include_input=False, include_context=False)
            raise unprocessable(
                {**each, "loc": ("body", *each["loc"])} for each in mistakes
            ) from None

    return read


def parsed_as(gateway: Gateway, model: type[WireT]) -> Callable[[Request], Awaitable[WireT]]:
    """A dependency that reads the body as a route under /v1 wants it; bounded, else 400.

    An empty body is an empty object.
    """
    settings = gateway.settings
    limit = TimeLimit(settings.body_timeout_s)

    async def read(request: Request) -> WireT:
        body = await _body(request, settings.max_body_bytes, limit)
        return parse(model, body or b"{}")

    return read


async def _body(request: Request, max_bytes: int, limit: TimeLimit) -> bytes:
    headers = by_name(request.scope["headers"])
    try:
        return await read_body(request.receive, headers, max_bytes=max_bytes, limit=limit)
    except ClientLeft:
        raise ApiError(400, "The client left before its request was whole.") from None
