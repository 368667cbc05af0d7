"""Reading a request's body: bounded in size and in time."""

import asyncio
from collections.abc import Iterable

from trunkline_api.errors import ApiError
from trunkline_api.exchange import Receive


class ClientLeft(Exception):
    """The client hung up before its request was whole."""


async def read_body(
    receive: Receive, headers: Iterable[tuple[bytes, bytes]], *, max_bytes: int, timeout_s: float
) -> bytes:
    """The whole body. Raises ApiError 413, 408 or 415, or ClientLeft."""
    for name, value in headers:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise ApiError(
                415, "Send the body without 'Content-Encoding'.", code="unsupported_encoding"
            )
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _collect(receive, max_bytes)
    except TimeoutError:
        raise ApiError(
            408, f"The request's body did not arrive within {timeout_s:g} s.", code="body_timeout"
        ) from None


async def _collect(receive: Receive, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The request's body is larger than {max_bytes} bytes; shorten the transcript.",
        code="request_too_large",
        extra_headers={"connection": "close"},
    )
