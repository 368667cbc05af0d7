"""What requests and runs leave behind goes with its last reference. The garbage collector, which
stops all streams while it works, has nothing to find."""

import asyncio
import gc
from collections import Counter

import orjson
import pytest

from tests.flow.stage import Stage

pytestmark = pytest.mark.redis

_STREAMED = b"[DONE]\n\n\r\n0\r\n\r\n"
_WHOLE = b"}}"  # of the usage, after which nothing follows


@pytest.mark.parametrize("stream", [True, False])
async def test_a_served_request_is_no_garbage(redis_url: str, stream: bool) -> None:
    async with Stage(redis_url) as stage:
        await _ask(stage.http.base_url.port or 0, stream, times=1)  # what is made once
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await _ask(stage.http.base_url.port or 0, stream, times=5)
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


async def _ask(port: int, stream: bool, times: int) -> None:
    values = {"model": "echo", "stream": stream, "messages": [{"role": "user", "content": "a b"}]}
    body = orjson.dumps(values)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(times):
        writer.write(head.encode() + body)
        await reader.readuntil(_STREAMED if stream else _WHOLE)
    writer.close()
