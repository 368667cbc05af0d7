"""Ended turns in a real Redis, and an outbox that delivers them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from tests.api.conversation_bed import CONVERSATION, ConversationBed
from tests.fakes.webhook_sink import Told
from trunkline_api.outbox import Outbox
from trunkline_api.webhooks import Webhook

EVENTS = f"/hooks/events/{UUID(CONVERSATION).hex}"


class OutboxBed(ConversationBed):
    async def end(self, run: str, conversation: str = CONVERSATION, id: str = "*") -> None:
        """What `finish` does at the end of a run."""
        await self.redis.xadd(self.keys.outbox, {"c": conversation, "r": run}, id=id)

    async def left(self) -> int:
        # In the order in which an entry moves, so that none is missed on its way.
        left = int(await self.redis.xlen(self.keys.outbox))
        left += await self.redis.xlen(self.keys.outbox_responses)
        for stream in await self.redis.keys(self.keys.outbox_of("*")):
            left += await self.redis.xlen(stream)
        return left

    async def emptied(self, but: int = 0) -> None:
        """An entry leaves a moment after its webhook has it."""
        async with asyncio.timeout(20):
            while await self.left() != but:  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[Outbox]:
        outbox = Outbox(self.settings, self.keys, self.pipe, self.conversations, self.vault)
        try:
            await outbox.start()
            yield outbox
        finally:
            await outbox.aclose()


@asynccontextmanager
async def bed(
    redis_url: str, *urls: str, settings: dict[str, Any] | None = None, **spec: Any
) -> AsyncIterator[OutboxBed]:
    spec = {"retry_delay": 0, "headers": {"X-Hook": "word"}} | spec
    webhooks = tuple(Webhook(base_url=url, **spec) for url in urls)
    async with OutboxBed(redis_url, webhooks=webhooks, **settings or {}) as bed:
        yield bed  # type: ignore[misc]


def runs(told: list[Told]) -> list[str]:
    """Whose answers were told, in their order."""
    events = [event for each in told if "/events/" in each.path for event in each.body]
    return [e["llm_response_id"].partition("-")[2] for e in events if e["source"] == "agent"]
