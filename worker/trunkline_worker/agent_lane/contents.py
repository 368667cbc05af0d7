"""What people and tools say beside text, in pydantic-ai's forms: images, audio, files. Pure.

Nothing is decoded here, and nothing fetched: data stays the URL that it came as, until a wire
wants bytes (`trunkline_worker.agent_lane.outbound`).
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    DocumentUrl,
    ImageUrl,
    TextContent,
    UploadedFile,
    UserContent,
)

from trunkline_shared.transcript import Part

_AUDIO: Final = {"mp3": "mpeg", "m4a": "mp4", "oga": "ogg"}


def contents(parts: Sequence[Part]) -> str | list[UserContent]:
    """The same in the same order; what is nothing but one text is a string."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return [_content(part) for part in parts]


def parts_of(content: str | Sequence[UserContent]) -> list[Part]:
    """What the agent itself says to a model: text, and images that a tool gave back."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts: list[Part] = []
    for each in content:
        match each:
            case str():
                parts.append({"type": "text", "text": each})
            case TextContent():
                parts.append({"type": "text", "text": each.content})
            case ImageUrl():
                parts.append({"type": "image", "url": each.url})
            case BinaryContent():
                parts.append({"type": "image", "url": each.data_uri})
    return parts


def _content(part: Part) -> UserContent:
    match part["type"]:
        case "text" | "refusal":
            return part["text"]
        case "image":
            detail = {"detail": part["detail"]} if "detail" in part else None
            return ImageUrl(part["url"], vendor_metadata=detail)
        case "audio":
            kind = f"audio/{_AUDIO.get(part['format'], part['format'])}"
            return AudioUrl(f"data:{kind};base64,{part['data']}", media_type=kind)
        case "file":
            if file_id := part.get("file_id"):
                return UploadedFile(file_id, "openai")  # until a wire says who is asked
            name: dict[str, Any] = {"filename": part.get("filename", "")}
            return DocumentUrl(_data_url(part.get("data", "")), vendor_metadata=name)


def _data_url(data: str) -> str:
    return data if ":" in data[:16] else f"data:application/octet-stream;base64,{data}"
