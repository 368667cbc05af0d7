"""How the fake Anthropic server's scripts become bytes, streamed or whole."""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.upstream_wire import CUT, HANG, Json, Reply, Step

_NO_CACHE = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


@dataclass(frozen=True)
class Block:
    """A content block: how it starts, and its deltas (or pauses, CUT, HANG, raw bytes)."""

    start: Json
    deltas: list[Json | Step]


@dataclass(frozen=True)
class Script:
    """A message and how it ends; with `stop` None it never does."""

    blocks: list[Block]
    stop: str | None = "end_turn"
    stop_sequence: str | None = None
    usage: Json = field(default_factory=dict)


def text_block(*deltas: str | Step) -> Block:
    """A block of text; str deltas are its pieces, save CUT and HANG."""
    return Block({"type": "text", "text": ""}, [_piece(delta) for delta in deltas])


def _piece(delta: str | Step) -> Json | Step:
    if isinstance(delta, str) and delta not in (CUT, HANG):
        return {"type": "text_delta", "text": delta}
    return delta


def tool_block(name: str, value: Json) -> Block:
    """A call, its input in pieces of five characters. No two have the same id."""
    text = json.dumps(value)
    pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
    start = {"type": "tool_use", "id": f"toolu_{secrets.token_hex(6)}", "name": name, "input": {}}
    return Block(start, [{"type": "input_json_delta", "partial_json": each} for each in pieces])


def stream(script: Script, body: Json) -> Iterator[Step]:
    usage = usage_of(script, body)
    yield _event("message_start", message=_message(body, {**usage, "output_tokens": 1}))
    yield _event("ping")
    for index, block in enumerate(script.blocks):
        yield _event("content_block_start", index=index, content_block=block.start)
        for step in block.deltas:
            if isinstance(step, dict):
                yield _event("content_block_delta", index=index, delta=step)
            else:
                yield step
        yield _event("content_block_stop", index=index)
    if script.stop is not None:
        delta = {"stop_reason": script.stop, "stop_sequence": script.stop_sequence}
        yield _event("message_delta", delta=delta, usage=usage)
        yield _event("message_stop")


def _event(kind: str, **value: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **value})}\n\n".encode()


def whole(script: Script, body: Json) -> Reply:
    steps = [step for block in script.blocks for step in block.deltas]
    waits: list[Step] = [step for step in steps if isinstance(step, float) or step in (CUT, HANG)]
    message = {
        **_message(body, usage_of(script, body)),
        "content": [_folded(block) for block in script.blocks],
        "stop_reason": script.stop,
        "stop_sequence": script.stop_sequence,
    }
    silent = HANG in waits or CUT in waits
    return Reply([*waits, json.dumps(message).encode()], silent=silent)


def _message(body: Json, usage: Json) -> Json:
    return {
        "id": f"msg_{len(body['messages'])}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _folded(block: Block) -> Json:
    folded, arguments = dict(block.start), ""
    for step in block.deltas:
        if not isinstance(step, dict):
            continue
        arguments += step.get("partial_json", "")
        for key in ("text", "thinking", "signature"):
            if key in step:
                folded[key] += step[key]
    return {**folded, "input": json.loads(arguments)} if arguments else folded


def usage_of(script: Script, body: Json) -> Json:
    deltas = [step for block in script.blocks for step in block.deltas if isinstance(step, dict)]
    counted = {"input_tokens": input_tokens(body), "output_tokens": len(deltas)}
    return {**counted, **_NO_CACHE, **script.usage}


def input_tokens(body: Json) -> int:
    """One token a word of the system prompt and of the messages' texts."""
    contents = [body.get("system"), *(each["content"] for each in body["messages"])]
    return sum(len(re.findall(r"\S+", content_text(content))) for content in contents)


def content_text(content: Any) -> str:
    """The texts of a string or of content blocks, of tools' results too."""
    if isinstance(content, list):
        return " ".join(part.get("text") or content_text(part.get("content")) for part in content)
    return content or ""
