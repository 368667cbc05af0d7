"""`python -m tests.api.outbox_process REDIS_URL WEBHOOK_URL`: an outbox to be killed."""

import asyncio
import sys

from tests.api.conversation_bed import ConversationBed
from trunkline_api.outbox import Outbox
from trunkline_api.webhooks import Webhook


async def deliver(redis_url: str, url: str) -> None:
    webhooks = (Webhook(base_url=url, retry_delay=0),)
    async with ConversationBed(redis_url, webhooks=webhooks) as bed:
        outbox = Outbox(bed.settings, bed.keys, bed.pipe, bed.conversations, bed.vault)
        await outbox.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(deliver(*sys.argv[1:]))
