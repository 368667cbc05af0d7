"""From a transcript to what the command line is told, and which of it a session knows. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import orjson

from trunkline_shared.transcript import Item, Part, text_of

Block: TypeAlias = dict[str, Any]

_BEFORE = "What was said before, oldest first, between the two lines:\n---\n"
_NOW = "\n---\nNow the user says:\n"


def instructions(transcript: Sequence[Item]) -> list[str]:
    """What system and developer messages say."""
    return [
        text_of(item["content"])
        for item in transcript
        if item["type"] == "message" and item["role"] in ("system", "developer")
    ]


def digest(transcript: Sequence[Item], said: str = "") -> str:
    """Of what users and assistants said, so far as a session has it; `said` comes last.

    Neighbouring pieces of the assistant's count as one: they are split otherwise each time.
    """
    found = hashlib.sha256()
    speaking = False
    for is_assistants, content in [*_sayings(transcript), *([(True, said)] if said else [])]:
        if not (is_assistants and speaking):
            found.update(b"\0assistant\0" if is_assistants else b"\0user\0")
        speaking = is_assistants
        found.update(content.encode(errors="surrogatepass"))
    return found.hexdigest()


def known(transcript: Sequence[Item], covers: str) -> int | None:
    """How many items a session has that covers what has this digest; None: it is another's."""
    ends = [
        at + 1
        for at, item in enumerate(transcript)
        if item["type"] == "message" and item["role"] == "assistant"
    ]
    return next((end for end in reversed(ends) if digest(transcript[:end]) == covers), None)


def prompt(transcript: Sequence[Item]) -> list[Block]:
    """What the user says as Anthropic's content blocks, earlier turns folded in before it."""
    items = [item for item in transcript if not _is_instruction(item)]
    last = max((at for at, item in enumerate(items) if not _is_users(item)), default=-1)
    blocks: list[Block] = []
    if last >= 0:
        blocks.append(_text(_BEFORE))
        for item in items[: last + 1]:
            blocks += _told(item)
        blocks.append(_text(_NOW))
    for item in items[last + 1 :]:
        if item["type"] == "message":
            blocks += _blocks(item["content"])
    return _joined(blocks) or [_text("Go on.")]


def _sayings(transcript: Sequence[Item]) -> Iterator[tuple[bool, str]]:
    for item in transcript:
        if item["type"] == "message" and item["role"] in ("user", "assistant"):
            plain = all(part["type"] == "text" for part in item["content"])
            text = text_of(item["content"]) if plain else orjson.dumps(item["content"]).decode()
            yield item["role"] == "assistant", text


def _is_instruction(item: Item) -> bool:
    return item["type"] == "message" and item["role"] in ("system", "developer")


def _is_users(item: Item) -> bool:
    return item["type"] == "message" and item["role"] == "user"


def _told(item: Item) -> list[Block]:
    match item["type"]:
        case "message":
            return [_text(f"[{item['role']}]\n"), *_blocks(item["content"]), _text("\n\n")]
        case "tool_call":
            return [_text(f"[assistant called {item['name']}]\n{item['arguments']}\n\n")]
        case "tool_result":
            return [_text("[result]\n"), *_blocks(item["content"]), _text("\n\n")]
        case _:  # reasoning, and what only others understand
            return []


def _blocks(parts: Sequence[Part]) -> list[Block]:
    return [block for part in parts if (block := _block(part)) is not None]


def _block(part: Part) -> Block | None:
    match part["type"]:
        case "text" | "refusal":
            return _text(part["text"]) if part["text"] else None
        case "image":
            return {"type": "image", "source": _source(part["url"])}
        case _:
            return None  # refused at the edge


def _source(url: str) -> dict[str, str]:
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": head[5:].partition(";")[0], "data": data}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _joined(blocks: Sequence[Block]) -> list[Block]:
    joined: list[Block] = []
    for block in blocks:
        if joined and block["type"] == joined[-1]["type"] == "text":
            joined[-1] = _text(joined[-1]["text"] + block["text"])
        else:
            joined.append(block)
    return joined
