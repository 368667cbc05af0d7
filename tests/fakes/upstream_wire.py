"""How the fake upstream's scripts become bytes, streamed or whole."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

CUT: Final = "cut"
HANG: Final = "hang"
Step: TypeAlias = bytes | float | str  # bytes to write, seconds to wait, CUT or HANG
Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """Status, headers and body of one answer. A `silent` one sends nothing at all."""

    steps: Iterable[Step]
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    silent: bool = False

    @classmethod
    def of_json(cls, value: Any, status: int = 200, **headers: str) -> "Reply":
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls([json.dumps(value).encode()], status, headers=named)


@dataclass(frozen=True)
class Script:
    """A completion: deltas (or pauses, CUT, HANG, raw bytes) and how it ends."""

    deltas: list[Json | Step]
    finish: str | None = "stop"
    usage: str | None = "last"  # last: a chunk of its own; joint: with the finish; None: never
    usage_details: Json = field(default_factory=dict)
    done: bool = True
    role_first: bool = True
    eager_finish: str | None = None  # in the chunk of every delta
    as_bytes: bool = False  # byte by byte, CRLF, comments between


def stream(script: Script, body: Json) -> Iterator[Step]:
    steps = _chunks(script, body)
    if not script.as_bytes:
        return steps
    return (step for chunk in steps for step in _bytewise(chunk))


def _bytewise(chunk: Step) -> list[Step]:
    if not isinstance(chunk, bytes):
        return [chunk]
    crlf = chunk.replace(b"\n", b"\r\n").replace(b"data: ", b"data:")
    return [part for byte in b": comment\r\n" + crlf for part in (bytes([byte]), 0.0)]


def _chunks(script: Script, body: Json) -> Iterator[Step]:
    head = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }
    usage = _usage(script, body)
    wanted = bool((body.get("stream_options") or {}).get("include_usage"))

    def chunk(delta: Json, finish: str | None = None, **more: Any) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
        choice["logprobs"] = _rows(delta.get("content"), body)
        return _event({**head, "choices": [choice], **more})

    if script.role_first:
        yield chunk({"role": "assistant", "content": "", "refusal": None})
    for step in script.deltas:
        yield chunk(step, script.eager_finish) if isinstance(step, dict) else step
    if script.finish is not None:
        joint = {"usage": usage} if script.usage == "joint" else {}
        yield chunk({}, script.finish, **joint)
    if script.usage == "last" and wanted:
        yield _event({**head, "choices": [], "usage": usage})
    if script.done:
        yield b"data: [DONE]\n\n"


def _event(value: Json) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _rows(text: str | None, body: Json) -> Json | None:
    return {"content": [_row(text)], "refusal": None} if text and body.get("logprobs") else None


def _row(token: str) -> Json:
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


def whole(script: Script, body: Json) -> Reply:
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    steps: list[Step] = []
    rows: list[Json] = []
    for step in script.deltas:
        if isinstance(step, dict):
            _fold(message, step)
            rows += [_row(step["content"])] if step.get("content") else []
        elif isinstance(step, float) or step in (CUT, HANG):
            steps.append(step)
    logprobs = {"content": rows, "refusal": None} if body.get("logprobs") else None
    choice = {"index": 0, "message": message, "finish_reason": script.finish, "logprobs": logprobs}
    value = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [choice],
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }
    if script.usage is not None:
        value["usage"] = _usage(script, body)
    silent = HANG in steps or CUT in steps
    return Reply([*steps, json.dumps(value).encode()], silent=silent)


def _fold(message: Json, delta: Json) -> None:
    for key, value in delta.items():
        if key != "tool_calls":
            message[key] = (message.get(key) or "") + value
            continue
        calls = message.setdefault("tool_calls", [])
        for piece in value:
            if "id" in piece or "index" not in piece:
                calls.append(json.loads(json.dumps(piece)))
            else:
                kind = "custom" if "custom" in piece else "function"
                for name, text in piece[kind].items():
                    calls[piece["index"]][kind][name] += text


def _usage(script: Script, body: Json) -> Json:
    sent = sum(1 for delta in script.deltas if isinstance(delta, dict))
    prompt = prompt_tokens(body)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": sent,
        "total_tokens": prompt + sent,
        **script.usage_details,
    }


def prompt_tokens(body: Json) -> int:
    texts = (content_text(message.get("content")) for message in body["messages"])
    return sum(len(re.findall(r"\S+", text)) for text in texts)


def content_text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""
