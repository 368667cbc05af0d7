"""How the fake Responses API's answers become events."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.fakes.upstream_wire import CUT, HANG, Json, Step


@dataclass(frozen=True)
class Text:
    """str pieces are text, save CUT and HANG; others are pauses or raw bytes."""

    pieces: Sequence[str | Step]


@dataclass(frozen=True)
class Refusal:
    pieces: Sequence[str]


@dataclass(frozen=True)
class Reasoning:
    """The summary's pieces, and what nobody but the server can read."""

    pieces: Sequence[str]
    encrypted: str = "ZW5jcnlwdGVk"


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """`end`: `completed`, `failed`, or why it is incomplete; None: it never ends."""

    output: Sequence[Text | Refusal | Reasoning | Call]
    end: str | None = "completed"
    usage: Json = field(default_factory=dict)


def stream(answer: Answer, body: Json) -> Iterator[Step]:
    number = 0
    for step in _events(answer, body):
        if isinstance(step, dict):
            event = {**step, "sequence_number": number}
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            number += 1
        else:
            yield step


def _events(answer: Answer, body: Json) -> Iterator[Json | Step]:
    response: Json = {
        "id": "resp_fake",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "status": "in_progress",
    }
    yield {"type": "response.created", "response": response}
    yield {"type": "response.in_progress", "response": response}
    items: list[Json] = []
    for index, said in enumerate(answer.output):
        for step in _item(said, index):
            yield step
            if isinstance(step, dict) and step["type"] == "response.output_item.done":
                items.append(step["item"])
    if answer.end is None:
        return
    ended = {**response, "output": items, "usage": _usage(answer, body)}
    if answer.end in ("completed", "failed"):
        error = {"code": "server_error", "message": "The model crashed"}
        ended |= {"status": answer.end, "error": error if answer.end == "failed" else None}
        yield {"type": f"response.{answer.end}", "response": ended}
        return
    ended |= {"status": "incomplete", "incomplete_details": {"reason": answer.end}}
    yield {"type": "response.incomplete", "response": ended}


def _item(said: Text | Refusal | Reasoning | Call, index: int) -> Iterator[Json | Step]:
    match said:
        case Text(pieces):
            yield from _message(pieces, index, "output_text", "text")
        case Refusal(pieces):
            yield from _message(pieces, index, "refusal", "refusal")
        case Reasoning():
            yield from _reasoning(said, index)
        case Call():
            yield from _call(said, index)


def _message(
    pieces: Sequence[str | Step], index: int, kind: str, key: str
) -> Iterator[Json | Step]:
    item: Json = {"id": f"msg_{index}", "type": "message", "role": "assistant", "content": []}
    where = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield _added(index, {**item, "status": "in_progress"})
    empty: Json = {"type": kind, key: "", **({"annotations": []} if key == "text" else {})}
    yield {"type": "response.content_part.added", "part": empty, **where}
    text = ""
    for piece in pieces:
        if isinstance(piece, str) and piece not in (CUT, HANG):
            text += piece
            yield {"type": f"response.{kind}.delta", "delta": piece, "logprobs": [], **where}
        else:
            yield piece
    yield {"type": f"response.{kind}.done", key: text, "logprobs": [], **where}
    part = {**empty, key: text}
    yield {"type": "response.content_part.done", "part": part, **where}
    yield _done(index, {**item, "status": "completed", "content": [part]})


def _reasoning(said: Reasoning, index: int) -> Iterator[Json]:
    item: Json = {"id": f"rs_{index}", "type": "reasoning", "summary": []}
    where = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    yield _added(index, item)
    part: Json = {"type": "summary_text", "text": ""}
    yield {"type": "response.reasoning_summary_part.added", "part": part, **where}
    for piece in said.pieces:
        yield {"type": "response.reasoning_summary_text.delta", "delta": piece, **where}
    text = "".join(said.pieces)
    yield {"type": "response.reasoning_summary_text.done", "text": text, **where}
    part = {**part, "text": text}
    yield {"type": "response.reasoning_summary_part.done", "part": part, **where}
    yield _done(index, {**item, "summary": [part], "encrypted_content": said.encrypted})


def _call(said: Call, index: int) -> Iterator[Json]:
    item: Json = {"id": f"fc_{index}", "type": "function_call", "call_id": said.id}
    item |= {"name": said.name, "arguments": "", "status": "in_progress"}
    where = {"item_id": item["id"], "output_index": index}
    yield _added(index, item)
    kind = "response.function_call_arguments"
    for start in range(0, len(said.arguments), 5):
        yield {"type": f"{kind}.delta", "delta": said.arguments[start : start + 5], **where}
    yield {"type": f"{kind}.done", "arguments": said.arguments, "name": said.name, **where}
    yield _done(index, {**item, "arguments": said.arguments, "status": "completed"})


def _added(index: int, item: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def _done(index: int, item: Json) -> Json:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def _usage(answer: Answer, body: Json) -> Json:
    pieces = [getattr(said, "pieces", [""]) for said in answer.output]
    sent = sum(isinstance(each, str) for many in pieces for each in many)
    read = len(json.dumps(body["input"]).split())
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": sent,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + sent,
        **answer.usage,
    }
