"""`/api/conversations/{id}/events`: what happened in a conversation."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from trunkline_api.auth import Principal
from trunkline_api.conversation_events import EventJson, events_of, message_text
from trunkline_api.conversation_id import AnyId
from trunkline_api.conversations import Conversations
from trunkline_api.deps import principal_of
from trunkline_api.errors import ApiError
from trunkline_api.gateway import Gateway
from trunkline_api.routes.conversations import existing
from trunkline_api.wire.conversations import EventOrder, EventPage


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are asked for. `kind` is a class name, with or without its module."""

    kind: str | None = None
    source: str | None = None
    body: str | None = None
    timestamp__gte: datetime | None = None
    timestamp__lt: datetime | None = None

    def takes(self, event: EventJson) -> bool:
        at = datetime.fromisoformat(event["timestamp"])
        return (
            (self.kind is None or self.kind.rpartition(".")[2] == event["kind"])
            and self.source in (None, event["source"])
            and (self.timestamp__gte is None or at >= _aware(self.timestamp__gte))
            and (self.timestamp__lt is None or at < _aware(self.timestamp__lt))
            and (self.body is None or self.body.lower() in " ".join(message_text(event)).lower())
        )


def conversation_events_router(gateway: Gateway, conversations: Conversations) -> APIRouter:
    router = APIRouter(prefix="/api/conversations/{conversation_id}/events", tags=["Events"])

    caller = Depends(principal_of(gateway))

    async def all_events(
        conversation_id: AnyId, principal: Annotated[Principal, caller]
    ) -> list[EventJson]:
        missing = f"Conversation not found: {conversation_id}"
        found = await existing(conversations, conversation_id, principal, missing)
        # In a thread, as in `told`.
        by_turn = await asyncio.to_thread(events_of, found.turns)
        return [event for turn in by_turn for event in turn]

    derived = Depends(all_events)

    @router.get("/search")
    async def search(
        wanted: Annotated[Filter, Depends()],
        events: Annotated[list[Any], derived],
        page_id: str | None = None,
        limit: Annotated[int, Query(gt=0, le=100)] = 100,
        sort_order: EventOrder = "TIMESTAMP",
    ) -> EventPage:
        """Events in their order; `next_page_id` leads to the rest."""
        ordered = events if sort_order == "TIMESTAMP" else events[::-1]
        start = next((at for at, event in enumerate(ordered) if event["id"] == page_id), 0)
        found = [event for event in ordered[start:] if wanted.takes(event)]
        rest = found[limit:]
        return EventPage(items=found[:limit], next_page_id=rest[0]["id"] if rest else None)

    @router.get("/count")
    async def count(
        wanted: Annotated[Filter, Depends()], events: Annotated[list[Any], derived]
    ) -> int:
        return sum(map(wanted.takes, events))

    @router.get("")
    async def batch(
        event_ids: Annotated[list[str], Query(max_length=100)],
        events: Annotated[list[Any], derived],
    ) -> list[dict[str, Any] | None]:
        """Events by their ids, null for those that do not exist."""
        known = {event["id"]: event for event in events}
        return [known.get(id) for id in event_ids]

    @router.get("/{event_id}")
    async def get(event_id: str, events: Annotated[list[Any], derived]) -> dict[str, Any]:
        for event in events:
            if event["id"] == event_id:
                return dict(event)
        message = "The conversation has no such event."
        raise ApiError(404, message, code="event_not_found", detail="Not Found")

    return router


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
