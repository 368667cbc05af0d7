"""A run's messages as one provider may see them. Pure; what would have to be fetched is refused."""

from base64 import b64decode
from binascii import Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    DocumentUrl,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UploadedFile,
    UserContent,
    UserPromptPart,
)

from trunkline_worker.agent_lane.faults import Unfit
from trunkline_worker.agent_lane.history import Said, item_of, sendable


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a provider takes beside text. `links`: addresses of images, which it fetches itself;
    `files`: by the provider's name for its uploads, None where it has none.
    """

    media: tuple[str, ...]
    links: bool = False
    files: str | None = None


def outbound(
    messages: Iterable[ModelMessage], accepted: Accepted, thinker: str | None
) -> list[ModelMessage]:
    """Without what only others understand: their opaque items, and reasoning that was not signed
    by `thinker`, the provider that reads its own; None: it reads none.

    Raises Unfit for content that the provider does not take.
    """
    sent: list[ModelMessage] = []
    for message in messages:
        if isinstance(message, ModelRequest):
            parts = [_asked(part, accepted) for part in message.parts if not _is_nothing(part)]
            if parts:
                sent.append(replace(message, parts=parts))
        else:
            kept = [_said(part) for part in message.parts if not _is_foreign(part, thinker)]
            if kept:
                sent.append(replace(message, parts=kept))
    return sent


def _is_nothing(part: ModelRequestPart) -> bool:
    return isinstance(part, Said) and part.item is None


def _is_foreign(part: ModelResponsePart, thinker: str | None) -> bool:
    if isinstance(part, ThinkingPart):
        return not part.signature or part.provider_name != thinker
    return isinstance(part, TextPart) and not part.content and item_of(part) is not None


def _said(part: ModelResponsePart) -> ModelResponsePart:
    if isinstance(part, ToolCallPart) and isinstance(part.args, str):
        return replace(part, args=sendable(part.args))
    return part


def _asked(part: ModelRequestPart, accepted: Accepted) -> ModelRequestPart:
    if not isinstance(part, UserPromptPart | ToolReturnPart) or not isinstance(part.content, list):
        return part
    content: Any = _shortest([_content(each, accepted) for each in part.content])
    return cast(ModelRequestPart, replace(part, content=content))


def _shortest(content: Sequence[Any]) -> str | Sequence[Any]:
    """Providers take text alone as text, also where it came in several pieces."""
    if all(isinstance(each, str) for each in content):
        return "".join(content)
    return content


def _content(content: Any, accepted: Accepted) -> UserContent:
    match content:
        case ImageUrl(url=url):
            if not url.startswith("data:"):
                if accepted.links:
                    return content
                raise Unfit("This model takes images as data: URLs alone.", "messages")
            return _binary(url, "image/", accepted, content.vendor_metadata)
        case AudioUrl(url=url):
            return _binary(url, "audio/", accepted, None)
        case DocumentUrl(url=url):
            return _binary(url, "", accepted, content.vendor_metadata)
        case UploadedFile(file_id=file_id):
            if accepted.files is None:
                raise Unfit("This model takes no uploaded files.", "messages")
            return UploadedFile(file_id, cast(Any, accepted.files))
    return cast(UserContent, content)


def _binary(
    url: str, kind: str, accepted: Accepted, metadata: dict[str, Any] | None
) -> BinaryContent:
    head, comma, data = url.partition(",")
    media_type, _, encoding = head.removeprefix("data:").partition(";")
    if not url.startswith("data:") or not comma or not encoding.endswith("base64"):
        raise Unfit("Images and files are data: URLs with base64.", "messages")
    if not media_type.startswith(kind) or not media_type.startswith(accepted.media):
        raise Unfit(f"This model does not take {media_type or 'such data'}.", "messages")
    try:
        raw = b64decode(data, validate=True)
    except (Error, ValueError):
        raise Unfit("A data: URL is not valid base64.", "messages") from None
    return BinaryContent(raw, media_type=media_type, vendor_metadata=metadata)
