"""`/v1/conversations`: OpenAI's conversations, which are the same as everywhere else here."""

from typing import Annotated

from fastapi import APIRouter, Depends

from trunkline_api.auth import Principal
from trunkline_api.conversation_id import KnownId, new_conversation, shown
from trunkline_api.conversation_items import ConversationItems, unreadable
from trunkline_api.conversations import Conversations, Head
from trunkline_api.deps import parsed_as, principal_of
from trunkline_api.errors import no_conversation
from trunkline_api.gateway import Gateway
from trunkline_api.runs import Runs
from trunkline_api.wire.conversation_items import (
    ConversationObject,
    CreateConversation,
    DeletedConversation,
    UpdateMetadata,
)
from trunkline_shared.vault import Unreadable


def openai_conversations_router(
    gateway: Gateway, conversations: Conversations, items: ConversationItems, runs: Runs
) -> APIRouter:
    router = APIRouter(prefix="/v1/conversations", tags=["Conversations"])
    caller = Depends(principal_of(gateway))

    @router.post("")
    async def create_conversation(
        wish: Annotated[CreateConversation, Depends(parsed_as(gateway, CreateConversation))],
        principal: Annotated[Principal, caller],
    ) -> ConversationObject:
        """Begins a conversation, with `items` that its first run sees."""
        begins_with = await items.neutral(wish.items or (), principal.name)
        conversation = new_conversation()
        metadata = wish.metadata or {}
        created_ms = await conversations.begin(conversation, principal.name, metadata)
        if begins_with:
            await items.add(conversation, principal.name, begins_with)
        return _object(conversation, created_ms, metadata)

    @router.get("/{conversation_id}")
    async def get_conversation(
        conversation_id: KnownId, principal: Annotated[Principal, caller]
    ) -> ConversationObject:
        return await told(conversations, conversation_id, principal)

    @router.post("/{conversation_id}")
    async def update_conversation(
        conversation_id: KnownId,
        change: Annotated[UpdateMetadata, Depends(parsed_as(gateway, UpdateMetadata))],
        principal: Annotated[Principal, caller],
    ) -> ConversationObject:
        """Replaces the metadata."""
        before = await told(conversations, conversation_id, principal)
        metadata = change.metadata or {}
        head = Head(conversation_id, principal.name)
        if not await conversations.describe(head, metadata=metadata):
            raise no_conversation("conversation_id")
        return before.model_copy(update={"metadata": metadata})

    @router.delete("/{conversation_id}")
    async def delete_conversation(
        conversation_id: KnownId, principal: Annotated[Principal, caller]
    ) -> DeletedConversation:
        """Ends its runs, and forgets it; responses that are stored stay."""
        if not await runs.cancel_conversation(conversation_id, principal.name, delete=True):
            raise no_conversation("conversation_id")
        return DeletedConversation(id=shown(conversation_id))

    return router


async def told(
    conversations: Conversations, conversation: str, principal: Principal
) -> ConversationObject:
    """Raises ApiError 404, and 409 for what another key sealed."""
    try:
        found = await conversations.metadata(conversation, principal.name)
    except (Unreadable, ValueError) as error:
        raise unreadable(error) from None
    if found is None:
        raise no_conversation("conversation_id")
    return _object(conversation, *found)


def _object(conversation: str, created_ms: int, metadata: dict[str, str]) -> ConversationObject:
    return ConversationObject(
        id=shown(conversation), created_at=created_ms // 1000, metadata=metadata
    )
