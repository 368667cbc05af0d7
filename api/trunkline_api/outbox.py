"""Ended turns on their way to webhooks: each at least once, in order per conversation.

The scripts write each ended turn into a stream; from there it goes into one of each webhook. One
API process at a time holds the lease and delivers what is there; an entry leaves a webhook's stream
when that webhook has it, so that a process that dies loses nothing: the next one begins with it
again.
"""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from redis.exceptions import RedisError

from trunkline_api.conversations import Conversations
from trunkline_api.delivery import Delivery
from trunkline_api.lease import LOOK_S, Lease, LeaseLost
from trunkline_api.settings import ApiSettings
from trunkline_api.webhook_client import WebhookClient
from trunkline_api.webhooks import Webhook
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import OUTBOX

logger = logging.getLogger("trunkline.webhooks")

_AT_ONCE: Final = 200  # entries; Redis does nothing else meanwhile

# One command, so that whoever dies in it neither loses nor doubles an entry.
_SPREAD: Final = """
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
  for i = 2, #KEYS do
    redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[2], entry[1], unpack(entry[2]))
  end
  redis.call('XDEL', KEYS[1], entry[1])
end
for i = 2, #entries > 0 and #KEYS or 0 do redis.call('PEXPIRE', KEYS[i], ARGV[3]) end
return #entries
"""


class Outbox:
    """Delivers while it lives, in whichever process holds the lease."""

    def __init__(
        self, settings: ApiSettings, keys: Keys, pipe: Pipe, conversations: Conversations
    ) -> None:
        self._timeout_s = settings.webhook_timeout_s
        self._retention_ms = int(settings.retention_s * 1000)
        self._stream = keys.outbox
        self._pipe = pipe
        self._lease = Lease(pipe, keys.outbox_lease)
        patience_s = settings.webhook_patience_s
        self._deliveries = [
            Delivery(webhook, keys.outbox_of(name), pipe, conversations, self._lease, patience_s)
            for webhook, name in names(settings.webhooks)
        ]
        self._owner: asyncio.Task[None] | None = None
        self._client: WebhookClient | None = None
        self._closed = False

    async def start(self) -> None:
        self._client = WebhookClient(self._timeout_s)
        self._owner = start_owned(self._run(self._client), "outbox")

    async def aclose(self) -> None:
        """What is under way is cut off, and delivered again by whoever is next."""
        self._closed = True
        await end_owned(self._owner)
        if self._client is not None:
            await self._client.aclose()

    async def _run(self, client: WebhookClient) -> None:
        while not self._closed:  # a cancellation gets lost where a task group fails just then
            try:
                if await self._lease.renew():
                    async with asyncio.TaskGroup() as tasks:
                        for delivery in self._deliveries:
                            tasks.create_task(delivery.run(tasks, client))
                        await self._spread()
            except* (LeaseLost, RedisUnavailable, RedisError) as errors:
                logger.warning("webhooks wait: %r", errors.exceptions[0])
            await asyncio.sleep(LOOK_S)

    async def _spread(self) -> None:
        """Hands each entry to all webhooks, for as long as the lease holds; raises LeaseLost."""
        streams = [self._stream, *(delivery.stream for delivery in self._deliveries)]
        limits = (_AT_ONCE, OUTBOX, self._retention_ms)
        while True:
            while await self._pipe.send("EVAL", _SPREAD, len(streams), *streams, *limits):
                pass
            await asyncio.sleep(LOOK_S)
            if not await self._lease.renew():
                raise LeaseLost


def names(webhooks: Sequence[Webhook]) -> Iterator[tuple[Webhook, str]]:
    """Each with a name that stays, also when others come and go; URLs may be secret."""
    seen: Counter[str] = Counter()
    for webhook in webhooks:
        seen[webhook.base_url] += 1
        said = f"{seen[webhook.base_url]} {webhook.base_url}"
        yield webhook, hashlib.sha256(said.encode()).hexdigest()[:16]
