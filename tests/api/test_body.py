import asyncio
from typing import Any

import pytest

from trunkline_api.body import ClientLeft, read_body
from trunkline_api.errors import ApiError
from trunkline_api.headers import Headers
from trunkline_api.time_limit import TimeLimit

NOTHING_SAID: Headers = {}


class Client:
    """Sends these messages, then nothing."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = [*messages]

    async def __call__(self) -> dict[str, Any]:
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)


def piece(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def read(client: Client, headers: Headers = NOTHING_SAID, timeout_s: float = 20.0) -> bytes:
    return await read_body(client, headers, max_bytes=10, limit=TimeLimit(timeout_s))


async def test_a_body_is_whole_whatever_pieces_it_comes_in() -> None:
    client = Client(piece(b"12345", more=True), piece(b"", more=True), piece(b"67890", more=False))
    assert await read(client) == b"1234567890"
    assert await read(Client({"type": "http.request"})) == b""


async def test_who_waits_with_a_body_that_is_too_large_is_refused_before_it_is_sent() -> None:
    client = Client(piece(b"x", more=True))
    with pytest.raises(ApiError) as caught:
        await read(client, {b"content-length": b"11", b"expect": b"100-continue"})
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")
    assert caught.value.headers["connection"] == "close"
    assert len(client.messages) == 1


@pytest.mark.parametrize("headers", [{b"content-length": b"18"}, {}])
async def test_a_body_that_is_too_large_is_heard_out_and_refused(
    headers: Headers,
) -> None:
    client = Client(*[piece(b"123456", more=True)] * 2, piece(b"123456", more=False))
    with pytest.raises(ApiError) as caught:
        await read(client, headers)
    assert caught.value.status == 413
    assert not client.messages


async def test_a_body_without_end_is_cut_off() -> None:
    client = Client(*[piece(b"123456", more=True)] * 20)
    with pytest.raises(ApiError) as caught:
        await read(client)
    assert caught.value.status == 413
    assert client.messages


async def test_a_body_that_does_not_come_in_time_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        await read(Client(piece(b"1", more=True)), timeout_s=0.02)
    assert (caught.value.status, caught.value.code) == (408, "body_timeout")


async def test_a_client_that_leaves_is_told_nothing() -> None:
    with pytest.raises(ClientLeft):
        await read(Client(piece(b"1", more=True), {"type": "http.disconnect"}))
