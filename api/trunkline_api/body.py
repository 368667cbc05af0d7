"""Reading a request's body: bounded in size and in time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from trunkline_api.errors import ApiError
from trunkline_api.exchange import Receive
from trunkline_api.headers import Headers
from trunkline_api.time_limit import TimeLimit

# A client reads a refusal when it has sent everything. To close on one that still sends is to reset
# its connection, and then it never learns why.
_DROPPED_BODIES: Final = 4  # of the largest size allowed
_DROPPING_S: Final = 10.0


class ClientLeft(Exception):
    """The client hung up before its request was whole."""


async def read_body(
    receive: Receive,
    headers: Headers,
    *,
    max_bytes: int,
    limit: TimeLimit,
    arrived: Callable[[], bytes | None] = lambda: None,
) -> bytes:
    """The whole body: what `arrived` gives, if all of it is here already, else what is received.

    Raises ApiError 413, 408 or 415, or ClientLeft. Of a body that is too large the rest is read
    and dropped first, within bounds.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        message = "Send the body without 'Content-Encoding'."
        raise ApiError(415, message, code="unsupported_encoding")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > max_bytes:
        # Who waits for "100 Continue" has sent nothing yet, and is told before it does.
        if headers.get(b"expect") != b"100-continue":
            await _drop(receive, max_bytes)
        raise _too_large(max_bytes)
    body = arrived()
    if body is not None:
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    try:
        with limit:
            body = await _collect(receive, max_bytes)
    except TimeoutError:
        message = f"The request's body did not arrive within {limit.seconds:g} s."
        raise ApiError(408, message, code="body_timeout") from None
    if body is None:
        await _drop(receive, max_bytes)
        raise _too_large(max_bytes)
    return body


async def _collect(receive: Receive, max_bytes: int) -> bytes | None:
    """None as soon as it is larger than `max_bytes`."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            return None
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _drop(receive: Receive, max_bytes: int) -> None:
    size, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_DROPPING_S):
            while more and size <= _DROPPED_BODIES * max_bytes:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                size += len(message.get("body", b""))
                more = message.get("more_body", False)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The request's body is larger than {max_bytes} bytes; shorten the transcript.",
        code="request_too_large",
        extra_headers={"connection": "close"},
    )
