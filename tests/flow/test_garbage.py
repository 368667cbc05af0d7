"""What requests and runs leave behind goes with its last reference. The garbage collector, which
stops all streams while it works, has nothing to find."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest

from tests.flow.stage import Stage
from tests.flow.websocket_client import opened
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.redis

_STREAMED = b"[DONE]\n\n\r\n0\r\n\r\n"
_WHOLE = b"}}"  # of the usage, or of an error, after which nothing follows


@contextmanager
def no_garbage() -> Iterator[None]:
    """Nothing of ours that only the collector finds is left behind inside."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        ours = Counter(
            type(each).__name__
            for each in gc.garbage
            if type(each).__module__.startswith(("trunkline", "uvicorn"))
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not ours


@pytest.mark.parametrize("stream", [True, False])
async def test_a_served_request_is_no_garbage(redis_url: str, stream: bool) -> None:
    async with Stage(redis_url) as stage:
        end = _STREAMED if stream else _WHOLE
        await _ask(stage, "echo", end, stream=stream)  # what is made once
        with no_garbage():
            for _ in range(5):
                await _ask(stage, "echo", end, stream=stream)


@pytest.mark.parametrize("model", ["echo", "nobody"], ids=["no worker", "no such model"])
async def test_a_refused_request_is_no_garbage_with_all_that_it_said(
    redis_url: str, model: str
) -> None:
    async with Stage(redis_url, workers=0) as stage:
        await _ask(stage, model, _WHOLE)
        with no_garbage():
            await _ask(stage, model, _WHOLE)


@pytest.mark.parametrize("first", ["first ", ""], ids=["in a stream", "before its reply began"])
async def test_the_request_of_a_client_that_left_is_no_garbage(redis_url: str, first: str) -> None:
    async with Stage(redis_url) as stage:
        stage.held.first = first
        end = b"first " if first else b""
        await _ask(stage, "held", end)
        await until(lambda: len(stage.held.cut) == 1)
        with no_garbage():
            await _ask(stage, "held", end)
            await until(lambda: len(stage.held.cut) == 2)


async def test_a_websocket_and_its_responses_are_no_garbage(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        await _talk(stage)
        with no_garbage():
            await _talk(stage)


async def _talk(stage: Stage) -> None:
    async with opened(stage.serving.url) as socket:
        first = await socket.asked(stream_id="a")
        await socket.asked(stream_id="a", previous_response_id=first["response"]["id"])
        await socket.asked(model="nobody")
        cut = len(stage.held.cut)
        await socket.create(model="held")
        await socket.event()
    await until(lambda: len(stage.held.cut) > cut)


async def _ask(stage: Stage, model: str, end: bytes, *, stream: bool = True) -> None:
    """Asks over a connection of its own, and leaves after `end`, or when the run has begun."""
    began = len(stage.workers and stage.held.began)
    values = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "a b"}]}
    body = orjson.dumps(values)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.http.base_url.port)
    writer.write(head.encode() + body)
    async with asyncio.timeout(PATIENCE_S):
        await (reader.readuntil(end) if end else until(lambda: len(stage.held.began) > began))
    writer.close()
