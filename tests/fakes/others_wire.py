"""What the fakes of Google, Cohere and Bedrock say, as each of them says it."""

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tests.fakes.upstream_wire import Json, Step

Piece: TypeAlias = tuple[str, str] | float | str
"""`text`, `thought` or `call` with what is said or called; seconds to wait; CUT."""

ARGUMENTS: Final = {"at": "x"}
USAGE: Final = (7, 3)  # tokens of input and output


@dataclass(frozen=True)
class Said:
    pieces: list[Piece]
    finish: str


@dataclass(frozen=True)
class Api:
    """How one of them is read and spoken."""

    content_type: str
    stream: Callable[[str, Said], Iterable[Step]]
    error: Callable[[int, str], Json]
    max_tokens: Callable[[Json], int | None]
    first_tool: Callable[[Json], str]
    last_result: Callable[[Json], Any]


def _steps(said: Said, told: Callable[[str, str], Iterable[bytes]]) -> Iterator[Step]:
    for piece in said.pieces:
        if isinstance(piece, tuple):
            yield from told(*piece)
        else:
            yield piece


def _event(value: Json, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(value).encode() + b"\n\n"


def _google_stream(model: str, said: Said) -> Iterator[Step]:
    parts: dict[str, Callable[[str], Json]] = {
        "text": lambda text: {"text": text},
        "thought": lambda text: {"text": text, "thought": True},
        "call": lambda name: {"functionCall": {"name": name, "args": ARGUMENTS}},
    }

    def chunk(more: Json, content: list[Json]) -> bytes:
        candidate = {"index": 0, "content": {"role": "model", "parts": content}, **more}
        usage = {"promptTokenCount": USAGE[0], "candidatesTokenCount": USAGE[1]}
        value = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
        return _event({**value, "responseId": "fake"})

    yield from _steps(said, lambda kind, what: [chunk({}, [parts[kind](what)])])
    reason = "MAX_TOKENS" if said.finish == "length" else "STOP"
    yield chunk({"finishReason": reason}, [{"text": ""}])


google: Final = Api(
    "text/event-stream",
    _google_stream,
    lambda status, message: {"error": {"code": status, "message": message, "status": "FAKE"}},
    lambda body: body.get("generationConfig", {}).get("maxOutputTokens"),
    lambda body: str(body["tools"][0]["functionDeclarations"][0]["name"]),
    lambda body: next(
        (
            p["functionResponse"]["response"]
            for p in body["contents"][-1]["parts"]
            if len(p) == 1 and "functionResponse" in p
        ),
        None,
    ),
)


def _cohere_stream(model: str, said: Said) -> Iterator[Step]:
    def told(kind: str, what: str) -> Iterator[bytes]:
        if kind != "call":
            name = "thinking" if kind == "thought" else "text"
            content = {"type": name, name: what}
            yield event("content-start", {"message": {"content": {"type": name, name: ""}}})
            yield event("content-delta", {"message": {"content": content}})
            yield event("content-end", {})
            return
        function = {"name": what, "arguments": ""}
        call = {"id": "call_1", "type": "function", "function": function}
        yield event("tool-call-start", {"message": {"tool_calls": call}})
        pieces = {"function": {"arguments": json.dumps(ARGUMENTS)}}
        yield event("tool-call-delta", {"message": {"tool_calls": pieces}})
        yield event("tool-call-end", {})

    def event(name: str, delta: Json) -> bytes:
        return _event({"type": name, "index": 0, "delta": delta}, name)

    start = {"message": {"role": "assistant"}}
    yield _event({"type": "message-start", "id": "fake", "delta": start}, "message-start")
    yield from _steps(said, told)
    reasons = {"length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}
    tokens = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
    end = {"finish_reason": reasons.get(said.finish, "COMPLETE"), "usage": {"tokens": tokens}}
    yield event("message-end", end)


cohere: Final = Api(
    "text/event-stream",
    _cohere_stream,
    lambda status, message: {"message": message},
    lambda body: body.get("max_tokens"),
    lambda body: str(body["tools"][0]["function"]["name"]),
    lambda body: (
        body["messages"][-1]["content"] if body["messages"][-1]["role"] == "tool" else None
    ),
)


def _bedrock_stream(model: str, said: Said) -> Iterator[Step]:
    yield _message("messageStart", {"role": "assistant"})
    index, open_kind = 0, ""
    for piece in said.pieces:
        if not isinstance(piece, tuple):
            yield piece
            continue
        kind, what = piece
        if open_kind and kind != open_kind:
            yield _message("contentBlockStop", {"contentBlockIndex": index})
            index += 1
        open_kind = kind
        delta: Json = {"text": what}
        if kind == "thought":
            delta = {"reasoningContent": {"text": what}}
        if kind == "call":
            start = {"toolUse": {"toolUseId": "tooluse_1", "name": what}}
            yield _message("contentBlockStart", {"start": start, "contentBlockIndex": index})
            delta = {"toolUse": {"input": json.dumps(ARGUMENTS)}}
        yield _message("contentBlockDelta", {"delta": delta, "contentBlockIndex": index})
    yield _message("contentBlockStop", {"contentBlockIndex": index})
    reasons = {"length": "max_tokens", "tool_calls": "tool_use"}
    yield _message("messageStop", {"stopReason": reasons.get(said.finish, "end_turn")})
    tokens = {"inputTokens": USAGE[0], "outputTokens": USAGE[1], "totalTokens": sum(USAGE)}
    yield _message("metadata", {"usage": tokens, "metrics": {"latencyMs": 1}})


def _message(kind: str, value: Json) -> bytes:
    """One message of `application/vnd.amazon.eventstream`."""
    names = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", 7, len(text))
        + text.encode()
        for name, text in names.items()
    )
    payload = json.dumps(value).encode()
    prelude = struct.pack("!II", len(headers) + len(payload) + 16, len(headers))
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


bedrock: Final = Api(
    "application/vnd.amazon.eventstream",
    _bedrock_stream,
    lambda status, message: {"message": message},
    lambda body: body.get("inferenceConfig", {}).get("maxTokens"),
    lambda body: str(body["toolConfig"]["tools"][0]["toolSpec"]["name"]),
    lambda body: next(
        (b["toolResult"]["content"] for b in body["messages"][-1]["content"] if "toolResult" in b),
        None,
    ),
)
