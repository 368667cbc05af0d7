"""The bytes of a chat stream, by the rules that accumulators of all clients rely on."""

import json
from typing import Any

import httpx
import pytest

from tests.clients.conftest import API_KEY
from tests.fakes.system import System

Json = dict[str, Any]
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SHELL = {"type": "custom", "custom": {"name": "shell"}}
WHOLE = ("words-3", "words-500", "slow-20x50", "split-20", "eager", "reasoning", "refusal")
WITH_TOOLS = {"tools": [LOOK], "tools-parallel": [LOOK, SHELL], "tools-odd": [LOOK]}
BROKEN = ("cut-3", "silence-3", "unfinished-3", "error-chunk", "garbage", "hang")


def stream(system: System, model: str, *, usage: bool) -> list[str]:
    """The blocks of a stream, each ended by an empty line."""
    body: Json = {"model": model, "messages": [{"role": "user", "content": "Go"}], "stream": True}
    if model in WITH_TOOLS:
        body["tools"] = WITH_TOOLS[model]
    if usage:
        body["stream_options"] = {"include_usage": True}
    headers = {"authorization": f"Bearer {API_KEY}"}
    url = f"{system.base_url()}/chat/completions"
    reply = httpx.post(url, json=body, headers=headers, timeout=60)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in reply.headers
    assert reply.text.endswith("\n\n")
    return reply.text.removesuffix("\n\n").split("\n\n")


def data_of(blocks: list[str]) -> list[str]:
    """What is no comment. Anything else than data lines and comments breaks some client."""
    said = [block for block in blocks if not block.startswith(":")]
    assert all(block.startswith("data: ") and "\n" not in block for block in said)
    return [block.removeprefix("data: ") for block in said]


@pytest.mark.parametrize("usage", [False, True], ids=["plain", "with-usage"])
@pytest.mark.parametrize("model", [*WHOLE, *WITH_TOOLS])
def test_a_whole_stream_keeps_the_rules(system: System, model: str, usage: bool) -> None:
    *lines, done = data_of(stream(system, model, usage=usage))
    assert done == "[DONE]"
    chunks: list[Json] = [json.loads(line) for line in lines]
    if usage:
        last = chunks.pop()
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] > 0
        assert all(chunk["usage"] is None for chunk in chunks)
    else:
        assert not any("usage" in chunk for chunk in chunks)
    for key in ("id", "object", "created", "model"):
        assert len({chunk[key] for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert all(chunk["choices"] == [choice] for chunk, choice in zip(chunks, choices, strict=True))
    assert all(choice["index"] == 0 for choice in choices)
    assert choices[0]["delta"]["role"] == "assistant"
    assert not any("role" in choice["delta"] for choice in choices[1:])
    assert all(choice["finish_reason"] is None for choice in choices[:-1])
    assert choices[-1]["finish_reason"] == ("tool_calls" if model in WITH_TOOLS else "stop")


@pytest.mark.parametrize("model", list(WITH_TOOLS))
def test_a_calls_id_type_and_name_come_once_and_first(system: System, model: str) -> None:
    lines = data_of(stream(system, model, usage=False))[:-1]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
    pieces = [piece for delta in deltas for piece in delta.get("tool_calls", ())]
    for index in range(len(WITH_TOOLS[model])):
        first, *others = [piece for piece in pieces if piece["index"] == index]
        kind = first["type"]
        assert first["id"]
        assert first[kind]["name"] == ("look", "shell")[index]
        assert all(piece.keys() == {"index", kind} for piece in others)
        assert all("name" not in piece[kind] for piece in others)


@pytest.mark.parametrize("model", BROKEN)
def test_a_broken_stream_ends_with_an_error_and_nothing_after(system: System, model: str) -> None:
    *lines, last = data_of(stream(system, model, usage=True))
    error = json.loads(last)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "server_error"
    for choice in (json.loads(line)["choices"][0] for line in lines):
        assert choice["finish_reason"] is None


def test_a_silence_is_bridged_by_comments_only(system: System) -> None:
    blocks = stream(system, "silence-3", usage=False)
    assert ": hb" in blocks
