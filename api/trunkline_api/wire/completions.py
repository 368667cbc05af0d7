"""Stored chat completions: what changes one, and what lists and deletions answer."""

from typing import Any, Literal

from pydantic import BaseModel

from trunkline_api.wire.base import Metadata, Wire
from trunkline_api.wire.chat_reply import ChatCompletion


class CompletionChange(Wire):
    """The metadata replace all there were; null leaves none."""

    metadata: Metadata | None


class CompletionList(BaseModel):
    """One page; `last_id` is where the next one begins, as `after`."""

    object: Literal["list"]
    data: list[ChatCompletion]
    first_id: str | None
    last_id: str | None
    has_more: bool


class CompletionMessage(BaseModel):
    """A message as it was sent; `content_parts` is there in place of `content` if it had parts."""

    id: str
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | None
    content_parts: list[dict[str, Any]] | None
    refusal: str | None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class CompletionMessageList(BaseModel):
    object: Literal["list"]
    data: list[CompletionMessage]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedCompletion(BaseModel):
    id: str
    object: Literal["chat.completion.deleted"] = "chat.completion.deleted"
    deleted: Literal[True] = True
