"""What callers do to conversations: name, interrupt, fork and delete them."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends

from trunkline_api.auth import Principal
from trunkline_api.conversation_events import events_of
from trunkline_api.conversation_id import AnyId
from trunkline_api.conversations import Conversation, Conversations, Fork
from trunkline_api.deps import body_as, principal_of
from trunkline_api.errors import ApiError
from trunkline_api.gateway import Gateway
from trunkline_api.routes.conversations import existing, not_found, told
from trunkline_api.runs import Runs
from trunkline_api.wire.conversations import (
    ConversationInfo,
    ForkConversation,
    Success,
    UpdateConversation,
)


def conversation_changes_router(
    gateway: Gateway, conversations: Conversations, runs: Runs
) -> APIRouter:
    router = APIRouter(prefix="/api/conversations/{conversation_id}", tags=["Conversations"])
    caller = Depends(principal_of(gateway))

    @router.patch("")
    async def update(
        conversation_id: AnyId,
        principal: Annotated[Principal, caller],
        change: Annotated[UpdateConversation, Depends(body_as(gateway, UpdateConversation))],
    ) -> Success:
        found = await existing(conversations, conversation_id, principal)
        return _told(await conversations.describe(found.head, change.title, change.tags))

    @router.delete("")
    async def delete(conversation_id: AnyId, principal: Annotated[Principal, caller]) -> Success:
        """Ends its runs, with 409 for who waits for them, and forgets all of it."""
        return _told(
            await runs.cancel_conversation(str(conversation_id), principal.name, delete=True)
        )

    @router.post("/pause")
    @router.post("/interrupt")
    async def interrupt(conversation_id: AnyId, principal: Annotated[Principal, caller]) -> Success:
        """Ends the run in progress and those that wait, with 409 for who waits for them."""
        return _told(await runs.cancel_conversation(str(conversation_id), principal.name))

    @router.post("/fork", status_code=201)
    async def fork(
        conversation_id: AnyId,
        principal: Annotated[Principal, caller],
        wish: Annotated[ForkConversation, Depends(body_as(gateway, ForkConversation))],
    ) -> ConversationInfo:
        """A copy that goes its own way, whole or up to the last event of a turn."""
        missing = "Source conversation not found"
        source = await existing(conversations, conversation_id, principal, missing)
        copy = _fork(source, wish)
        if not await conversations.fork(source, copy):
            message = f"Conversation with id {copy.id} already exists"
            raise ApiError(409, message, code="conversation_exists", param="id")
        return await told(await existing(conversations, UUID(copy.id), principal))

    return router


def _told(exists: bool) -> Success:
    if not exists:
        raise not_found()
    return Success()


def _fork(source: Conversation, wish: ForkConversation) -> Fork:
    turns = len(source.turns) if wish.from_event_id is None else _cut(source, wish.from_event_id)
    return Fork(
        id=str(wish.id or uuid4()),
        turns=turns,
        event=wish.from_event_id or "",
        title=wish.title,
        tags=source.tags if wish.tags is None else wish.tags,
        counted_from=turns if wish.reset_metrics else min(source.counted_from, turns),
    )


def _cut(source: Conversation, event_id: str) -> int:
    for number, events in enumerate(events_of(source.turns), start=1):
        ids = [event["id"] for event in events]
        if event_id in ids[:-1]:
            message = f"'from_event_id' is inside of a turn; the turn's last event is {ids[-1]}."
            raise ApiError(400, message, code="invalid_value", param="from_event_id")
        if event_id in ids:
            return number
    message = "from_event_id: the conversation has no such event"
    raise ApiError(404, message, code="event_not_found", param="from_event_id")
