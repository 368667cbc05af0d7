"""`/api/conversations`: what OpenHands' clients see of conversations.

They begin with a request to `/v1`; there is nothing to create here. What changes them is in
`conversation_changes.py`.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from trunkline_api.auth import Principal
from trunkline_api.conversation_events import final_response
from trunkline_api.conversation_id import AnyId
from trunkline_api.conversation_info import info_of
from trunkline_api.conversations import Conversation, Conversations, Head
from trunkline_api.deps import principal_of
from trunkline_api.errors import ApiError, unreadable_conversation
from trunkline_api.gateway import Gateway
from trunkline_api.wire.conversations import (
    ConversationInfo,
    ConversationOrder,
    ConversationPage,
    ExecutionStatus,
    FinalResponse,
)
from trunkline_shared.vault import Unreadable

logger = logging.getLogger("trunkline.conversations")


def conversations_router(gateway: Gateway, conversations: Conversations) -> APIRouter:
    router = APIRouter(prefix="/api/conversations", tags=["Conversations"])
    caller = Depends(principal_of(gateway))

    async def infos(ids: Iterable[str], principal: Principal) -> list[ConversationInfo | None]:
        # One after the other: together they may be more than this process can hold.
        found = []
        for id in ids:
            each = await _readable(conversations, id, principal)
            found.append(None if each is None else await told(each))
        return found

    @router.get("/search")
    async def search(
        principal: Annotated[Principal, caller],
        page_id: str | None = None,
        limit: Annotated[int, Query(gt=0, le=100)] = 100,
        status: ExecutionStatus | None = None,
        sort_order: ConversationOrder = "CREATED_AT_DESC",
    ) -> ConversationPage:
        """The caller's conversations; `next_page_id` leads to the rest."""
        heads = await conversations.heads(principal.name)
        ids = [head.id for head in _sorted(_with_status(heads, status), sort_order)]
        start = next((at for at, id in enumerate(ids) if UUID(id).hex == page_id), 0)
        page, rest = ids[start : start + limit], ids[start + limit :]
        items = [info for info in await infos(page, principal) if info is not None]
        return ConversationPage(items=items, next_page_id=UUID(rest[0]).hex if rest else None)

    @router.get("/count")
    async def count(
        principal: Annotated[Principal, caller], status: ExecutionStatus | None = None
    ) -> int:
        heads = await conversations.heads(principal.name)
        return len(_with_status(heads, status))

    @router.get("")
    async def batch(
        ids: Annotated[list[AnyId], Query(max_length=100)], principal: Annotated[Principal, caller]
    ) -> list[ConversationInfo | None]:
        """Conversations by their ids, null for those that do not exist."""
        return await infos(map(str, ids), principal)

    @router.get("/{conversation_id}")
    async def get(
        conversation_id: AnyId, principal: Annotated[Principal, caller]
    ) -> ConversationInfo:
        return await told(await existing(conversations, conversation_id, principal))

    @router.get("/{conversation_id}/agent_final_response")
    async def response(
        conversation_id: AnyId, principal: Annotated[Principal, caller]
    ) -> FinalResponse:
        """What the agent said last; empty before it has said anything."""
        found = await existing(conversations, conversation_id, principal)
        return FinalResponse(response=final_response(found.turns))

    return router


async def _readable(
    conversations: Conversations, id: str, principal: Principal
) -> Conversation | None:
    try:
        return await conversations.find(id, principal.name)
    except (Unreadable, ValueError) as error:  # which must not hide all others
        logger.warning("conversation %s: %s", id, error)
        return None


async def existing(
    conversations: Conversations,
    conversation_id: UUID,
    principal: Principal,
    detail: str = "Not Found",
) -> Conversation:
    """Raises ApiError 404 for what does not exist, or is not this principal's, and 409 for what
    another key sealed, or another version wrote."""
    try:
        found = await conversations.find(str(conversation_id), principal.name)
    except (Unreadable, ValueError) as error:
        raise unreadable_conversation(error) from None
    if found is None:
        raise not_found(detail)
    return found


async def told(conversation: Conversation) -> ConversationInfo:
    # In a thread: thousands of turns take a while, and others' streams are on the loop.
    return await asyncio.to_thread(info_of, conversation)


def not_found(detail: str = "Not Found") -> ApiError:
    message = "There is no such conversation."
    return ApiError(404, message, code="conversation_not_found", detail=detail)


def _with_status(heads: list[Head], status: ExecutionStatus | None) -> list[Head]:
    return [head for head in heads if status in (None, head.status)]


def _sorted(heads: list[Head], order: ConversationOrder) -> list[Head]:
    by_creation = order.startswith("CREATED")
    return sorted(
        heads,
        key=lambda head: (head.created_ms if by_creation else head.updated_ms, head.id),
        reverse=order.endswith("DESC"),
    )
