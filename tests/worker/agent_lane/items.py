"""Transcripts for tests: one item of each kind, and how they may stand together."""

from typing import Any

from trunkline_shared.transcript import Item

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def message(role: str, *parts: Any, **more: Any) -> Item:
    content = [{"type": "text", "text": each} if isinstance(each, str) else each for each in parts]
    return {"type": "message", "role": role, "content": content, **more}  # type: ignore[return-value]


def call(
    call_id: str, name: str = "look", arguments: str = '{"at": 1}', kind: str = "function"
) -> Item:
    return {
        "type": "tool_call",
        "id": call_id,
        "name": name,
        "arguments": arguments,
        "kind": kind,
    }  # type: ignore[return-value]


def result(call_id: str, *parts: Any) -> Item:
    content = [{"type": "text", "text": each} if isinstance(each, str) else each for each in parts]
    return {"type": "tool_result", "id": call_id, "content": content}  # type: ignore[typeddict-item]


def reasoning(text: str = "Let me think.") -> Item:
    return {"type": "reasoning", "text": text}


def opaque() -> Item:
    value = {"type": "reasoning", "encrypted_content": "xyz"}
    return {"type": "opaque", "origin": "responses", "value": value}


IMAGE = {"type": "image", "url": PIXEL}
LINK = {"type": "image", "url": "https://example.com/picture", "detail": "low"}
AUDIO = {"type": "audio", "data": "UklGRg==", "format": "wav"}
FILE = {"type": "file", "filename": "a.pdf", "data": "data:application/pdf;base64,JVBERi0="}
UPLOADED = {"type": "file", "file_id": "file-1"}
REFUSAL = {"type": "refusal", "text": "No."}
