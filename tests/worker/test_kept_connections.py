"""What a run leaves of its upstream's connection, when a worker executes it."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from tests.worker.backends.driving import (
    batches_of,
    chat,
    events_of,
    failed,
    finished,
    request,
    spec,
)
from tests.worker.backends.raw_server import CLOSE, RawServer, serving
from tests.worker.fake_run import claimed, code_of, execution
from trunkline_shared.run import RunRequest
from trunkline_worker.backends import exchange
from trunkline_worker.backends.base import Backend
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.retry import Retry

ANSWER = (
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


class LateEnd:
    """An upstream like most: the end of a body is a packet of its own, a moment after [DONE]."""

    def __init__(self) -> None:
        self.base_url = ""
        self.connections = 0
        self.ended = asyncio.Event()
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.lower().split(b"\r\n")
                length = next(line for line in lines if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                chunk = b"%x\r\n%b\r\n" % (len(ANSWER), ANSWER)
                writer.write(head + b"transfer-encoding: chunked\r\n\r\n" + chunk)
                await writer.drain()
                await asyncio.sleep(0.02)
                writer.write(b"0\r\n\r\n")
                self.ended.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            self.closed.set()


class Only:
    """The backends of a worker that has one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, request: RunRequest) -> Backend:
        return self._backend

    def timeout_s(self, agent: str) -> float:
        return 600.0


async def test_the_next_run_takes_the_connection_of_the_one_before() -> None:
    upstream = LateEnd()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        async with chat(spec(upstream, "any")) as backend:  # type: ignore[arg-type]
            for _ in range(3):
                run, writer = execution(claimed())
                assert await run.run(Only(backend)) == "ok"
                assert code_of(writer) == "stop"
                assert not upstream.ended.is_set()  # the run did not wait for it
                await upstream.ended.wait()
                upstream.ended.clear()
                for _ in range(5):  # ticks in which the end is read
                    await asyncio.sleep(0)
        await upstream.closed.wait()
    assert upstream.connections == 1


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)


def without_retries(raw: RawServer) -> AbstractAsyncContextManager[ChatBackend]:
    return chat(spec(raw, "any"), retry=Retry(retries=0))  # type: ignore[arg-type]


async def test_a_call_that_nobody_heard_on_a_kept_connection_is_made_on_a_new_one() -> None:
    gates: list[bool] = []

    async def gate() -> None:
        gates.append(True)

    async with serving([WHOLE], [CLOSE], [WHOLE]) as raw, without_retries(raw) as backend:
        for _ in range(2):
            finished([*(await batches_of(backend, request(), gate))[-1]])
    assert len(raw.requests) == 3 and len(raw.connections) == 2
    assert len(gates) == 3  # no call without it


async def test_a_call_that_nobody_heard_on_a_new_connection_fails() -> None:
    async with serving([CLOSE]) as raw, without_retries(raw) as backend:
        assert failed(await events_of(backend, request())).code == "upstream_error"
    assert len(raw.requests) == 1


async def test_a_call_that_was_heard_is_not_made_again_by_itself() -> None:
    async with serving([WHOLE], [WHOLE[:9], CLOSE]) as raw, without_retries(raw) as backend:
        finished(await events_of(backend, request()))
        assert failed(await events_of(backend, request())).code == "upstream_error"
    assert len(raw.requests) == 2


async def test_a_call_that_was_cut_late_is_not_made_again_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "_STALE_S", 0.0)  # whatever takes longer is late
    async with serving([WHOLE], [CLOSE], [WHOLE]) as raw, without_retries(raw) as backend:
        finished(await events_of(backend, request()))
        assert failed(await events_of(backend, request())).code == "upstream_error"
    assert len(raw.requests) == 2
