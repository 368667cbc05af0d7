"""Answers of providers that are not what their clients expect."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.worker.agent_lane.agents import agent
from tests.worker.backends.driving import events_of, failed, finished, request, text_in
from trunkline_worker.models import ModelSpec

Json = dict[str, Any]
USAGE: Json = {"input_tokens": 1, "output_tokens": 2}
MESSAGE: Json = {
    **{"id": "m", "type": "message", "role": "assistant", "model": "x", "content": []},
    **{"stop_reason": None, "stop_sequence": None, "usage": USAGE},
}


def answer(
    message: Any = MESSAGE, block: Any = None, text: Any = "hi", usage: Any = USAGE
) -> list[Json]:
    return [
        {"type": "message_start", "message": message},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": block or {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


@asynccontextmanager
async def provider(events: list[Json]) -> AsyncIterator[ModelSpec]:
    body = b"".join(b"event: %b\ndata: %b\n\n" % pair(event) for event in events)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:")[1].split()[0]))
        kind = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
        writer.write(kind % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield ModelSpec(provider="anthropic", name="x", base_url=url, wire="anthropic", api_key="k")


def pair(event: Json) -> tuple[bytes, bytes]:
    return event["type"].encode(), json.dumps(event).encode()


@pytest.mark.parametrize(
    "events",
    [
        answer()[1:],
        answer(message=5),
        answer(block={"type": "tool_use", "id": "t", "name": 5, "input": {}}),
        answer(block={"type": "tool_use", "id": ["t"], "name": "pay", "input": {}}),
        answer(text=5),
        answer(text=["hi"]),
        answer(usage=True),
    ],
)
async def test_what_cannot_be_read_is_the_providers_fault(events: list[Json]) -> None:
    async with provider(events) as model, agent(model) as backend:
        end = failed(await events_of(backend, request()))
    assert end.code == "upstream_error"
    assert "model provider" in end.message


async def test_counts_and_names_that_are_none_are_left_out() -> None:
    usage = {"input_tokens": int("9" * 100), "output_tokens": 2}
    message = {**MESSAGE, "model": 5, "usage": usage}
    async with provider(answer(message, usage=usage)) as model, agent(model) as backend:
        events = await events_of(backend, request())
    end = finished(events)
    assert (text_in(events), end.model, end.usage.input_tokens) == ("hi", "x", 0)
