"""What the wire may do to a call, on asyncio's loop and on uvloop, which is the product's."""

import asyncio
import gzip
import zlib

import pytest

from tests.patience import until
from tests.worker.backends.loops import each_loop
from tests.worker.backends.raw_server import CLOSE, Client, Heard, serving
from trunkline_worker.backends import http_connection
from trunkline_worker.backends.http_client import post_head
from trunkline_worker.backends.http_connection import CallError, Cut, NotHttp, Silent

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: 1\r\n\r\n"


def encoded(name: bytes, data: bytes) -> bytes:
    return OK + b"content-encoding: %b\r\ncontent-length: %d\r\n\r\n%b" % (name, len(data), data)


def raw_deflate(data: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-15)
    return pack.compress(data) + pack.flush()


@pytest.mark.parametrize(
    "answer",
    [
        [SIZED],
        [CHUNKED],
        [OK + b"\r\nhello", CLOSE],
        [b"HTTP/1.0 200 OK\r\n\r\nhello", CLOSE],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED],
        [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", SIZED],
        [b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello"],
        [SIZED[:60], SIZED[60:]],
        [CHUNKED[at : at + 1] for at in range(len(CHUNKED))],
        [encoded(b"gzip", gzip.compress(b"hello"))],
        [encoded(b"GZip", gzip.compress(b"hello"))],
        [encoded(b"deflate", zlib.compress(b"hello"))],
        [encoded(b"deflate", raw_deflate(b"hello"))],
        [encoded(b"identity", b"hello")],
    ],
)
@each_loop
async def test_a_body_is_read_whole_however_it_is_framed(answer: list[bytes]) -> None:
    async with serving(answer) as raw, Client(raw) as client:
        heard = await client.post()
    assert (heard.status, heard.text) == (200, b"hello")


@each_loop
async def test_an_answer_without_a_body_has_an_end() -> None:
    async with serving([b"HTTP/1.1 204 No Content\r\n\r\n"]) as raw, Client(raw) as client:
        heard = await client.post()
    assert (heard.status, heard.text) == (204, b"")


@each_loop
async def test_all_that_one_read_brings_comes_at_once() -> None:
    async with serving([CHUNKED]) as raw, Client(raw) as client:
        assert (await client.post()).parts == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([CLOSE], Cut),
        ([SIZED[:-1], CLOSE], Cut),
        ([CHUNKED[:-20], CLOSE], Cut),
        ([OK[:20], CLOSE], Cut),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], NotHttp),
        ([OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n"], NotHttp),
        ([b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"], NotHttp),
        ([OK + b"x: " + b"x" * 70_000 + b"\r\n\r\n"], NotHttp),
        ([b"HTTP/1.1 102 Processing\r\n\r\n" * 5_000], NotHttp),
        ([CHUNKED[:-7] + b"t: " + b"x" * 50_000, b"x" * 70_000], NotHttp),
        ([encoded(b"br", b"hello")], NotHttp),
        ([encoded(b"gzip", b"hello")], NotHttp),
        ([encoded(b"gzip", gzip.compress(b"\0" * 40_000_000))], NotHttp),
        ([OK], Silent),
        ([CHUNKED[:-20]], Silent),
    ],
)
@each_loop
async def test_what_is_no_whole_answer_fails_and_closes(
    answer: list[bytes], error: type[CallError]
) -> None:
    async with serving(answer) as raw, Client(raw) as client:
        with pytest.raises(error):
            await client.post(patience_s=0.2 if error is Silent else 5.0)
        assert client.http.take(client.origin) is None
        await until(lambda: raw.open == 0)


@each_loop
async def test_whoever_says_something_now_and_then_is_not_silent() -> None:
    answer = [CHUNKED[at : at + 1] for at in range(len(CHUNKED))]  # a millisecond each
    async with serving(answer) as raw, Client(raw) as client:
        assert (await client.post(patience_s=0.1)).text == b"hello"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ([SIZED], True),
        ([CHUNKED], True),
        ([SIZED.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)], False),
        ([SIZED.replace(b"HTTP/1.1", b"HTTP/1.0")], False),
        ([SIZED + b"more"], False),
        ([SIZED + SIZED], False),
        ([SIZED, SIZED], False),
    ],
)
@each_loop
async def test_a_connection_is_kept_unless_more_came_than_was_asked_for(
    answer: list[bytes], kept: bool
) -> None:
    async with serving(answer) as raw, Client(raw) as client:
        for _ in range(3):
            assert (await client.post()).text == b"hello"
            await asyncio.sleep(0.02)
        assert len(raw.connections) == (1 if kept else 3)


@each_loop
async def test_a_server_that_does_not_read_the_request_gets_no_other_on_that_connection() -> None:
    async with serving([SIZED]) as raw, Client(raw) as client:
        connection = await client.connection()
        await until(lambda: raw.connections)
        serving_end = raw.connections[0].transport
        serving_end.pause_reading()
        heard = Heard()
        connection.call(heard, post_head(raw.base_url, "/x", {}) + b"x" * 50_000_000, 5)
        serving_end.write(SIZED)
        await heard.ended
        assert client.http.take(client.origin) is None


@each_loop
async def test_an_idle_connection_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "_KEEPALIVE_S", 0.05)
    async with serving([SIZED]) as raw, Client(raw) as client:
        await client.post(patience_s=0.05)
        await until(lambda: raw.open == 0)


@each_loop
@pytest.mark.parametrize(("rest", "kept"), [(CHUNKED[-20:], True), (b"", False)])
async def test_what_is_settled_is_kept_if_it_ends_in_a_moment(rest: bytes, kept: bool) -> None:
    async with serving([CHUNKED[:-20]]) as raw, Client(raw) as client:
        connection = await client.connection()
        request = post_head(raw.base_url, "/x", {}) + b"0\r\n\r\n"
        connection.call(Settling(connection), request, 5)
        await until(lambda: connection.heard)
        raw.connections[0].transport.write(rest)
        if kept:
            await until(lambda: client.http.take(client.origin) is connection)
        else:
            await until(lambda: not raw.open)


@each_loop
async def test_what_is_settled_is_not_kept_for_one_who_goes_on_and_on() -> None:
    async with serving([CHUNKED[:-20]]) as raw, Client(raw) as client:
        connection = await client.connection()
        request = post_head(raw.base_url, "/x", {}) + b"0\r\n\r\n"
        connection.call(Settling(connection), request, 5)
        await until(lambda: connection.heard)

        def go_on() -> bool:
            if raw.open:
                raw.connections[0].transport.write(b"1\r\n:\r\n")
            return not raw.open

        await until(go_on)


@each_loop
async def test_who_leaves_after_the_end_takes_nothing_from_the_next_call() -> None:
    async with serving([SIZED]) as raw, Client(raw) as client:
        first = await client.post()
        connection = await client.connection()
        second = Heard()
        connection.call(second, post_head(raw.base_url, "/x", {}) + b"0\r\n\r\n", 5)
        connection.leave(first)
        async with asyncio.timeout(10):
            await second.ended
        assert len(raw.connections) == 1


class Settling(Heard):
    """Has all it wants with the first bytes."""

    def __init__(self, connection: http_connection.Connection) -> None:
        super().__init__()
        self._connection = connection

    def body(self, data: bytes, whole: bool) -> None:
        self._connection.settle()
