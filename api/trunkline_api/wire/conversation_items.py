"""The bodies and the replies of `/v1/conversations`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

from trunkline_api.wire.base import Metadata, Wire
from trunkline_api.wire.response_items import InputItem

Items: TypeAlias = Annotated[list[InputItem], Field(max_length=20, fail_fast=True)]


class CreateConversation(Wire):
    items: Items | None = None
    metadata: Metadata | None = None


class UpdateMetadata(Wire):
    """`metadata` replaces all there was."""

    metadata: Metadata | None


class AddItems(Wire):
    items: Annotated[Items, Field(min_length=1)]


class ConversationObject(BaseModel):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]


class DeletedConversation(BaseModel):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: Literal[True] = True
