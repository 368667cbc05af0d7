"""`/v1/conversations/{id}/items`: what was asked, said and added in a conversation."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Response

from trunkline_api.auth import Principal
from trunkline_api.conversation_id import KnownId
from trunkline_api.conversation_items import ConversationItems, listed
from trunkline_api.conversations import Conversations
from trunkline_api.deps import parsed_as, principal_of
from trunkline_api.gateway import Gateway
from trunkline_api.paging import Limit, Order
from trunkline_api.routes.openai_conversations import told
from trunkline_api.wire.conversation_items import AddItems, ConversationObject
from trunkline_api.wire.response_reply import InputItemList


def conversation_items_router(
    gateway: Gateway, conversations: Conversations, items: ConversationItems
) -> APIRouter:
    router = APIRouter(prefix="/v1/conversations/{conversation_id}/items", tags=["Conversations"])
    caller = Depends(principal_of(gateway))

    @router.post("", response_model=InputItemList)
    async def add_items(
        conversation_id: KnownId,
        wish: Annotated[AddItems, Depends(parsed_as(gateway, AddItems))],
        principal: Annotated[Principal, caller],
    ) -> Response:
        """Adds items that the next run sees."""
        whose = principal.name
        added = await items.neutral(wish.items, whose)
        return _json(listed(await items.add(conversation_id, whose, added)))

    @router.get("", response_model=InputItemList)
    async def list_items(
        conversation_id: KnownId,
        principal: Annotated[Principal, caller],
        after: str | None = None,
        limit: Limit = 20,
        order: Order = "desc",
    ) -> Response:
        """In pages, the newest first."""
        whose = principal.name
        return _json(
            await items.page(conversation_id, whose, after=after, limit=limit, order=order)
        )

    @router.get("/{item_id}")
    async def get_item(
        conversation_id: KnownId, item_id: str, principal: Annotated[Principal, caller]
    ) -> dict[str, Any]:
        return await items.get(conversation_id, principal.name, item_id)

    @router.delete("/{item_id}")
    async def delete_item(
        conversation_id: KnownId, item_id: str, principal: Annotated[Principal, caller]
    ) -> ConversationObject:
        """Forgets an item, so that no later run sees it; answers the conversation."""
        await items.delete(conversation_id, principal.name, item_id)
        return await told(conversations, conversation_id, principal)

    return router


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
