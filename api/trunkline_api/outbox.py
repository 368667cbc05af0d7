"""Ended turns and responses on their way to webhooks: each at least once, turns in their order.

The scripts write each into the stream of its kind; from there it goes into one of each webhook. One
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
from trunkline_api.delivery import Delivery, Receiver
from trunkline_api.lease import LOOK_S, Lease, LeaseLost
from trunkline_api.response_receiver import ResponseReceiver
from trunkline_api.settings import ApiSettings
from trunkline_api.turn_receiver import TurnReceiver
from trunkline_api.webhook_client import WebhookClient
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import OUTBOX
from trunkline_shared.vault import Vault

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
        self,
        settings: ApiSettings,
        keys: Keys,
        pipe: Pipe,
        conversations: Conversations,
        vault: Vault,
    ) -> None:
        self._timeout_s = settings.webhook_timeout_s
        self._retention_ms = int(settings.retention_s * 1000)
        self._pipe = pipe
        self._lease = lease = Lease(pipe, keys.outbox_lease)

        def delivery(name: str, receiver: Receiver) -> Delivery:
            return Delivery(
                receiver, keys.outbox_of(name), pipe, lease, settings.webhook_patience_s
            )

        hooks, response_hooks = settings.webhooks, settings.response_webhooks
        turns = names([hook.base_url for hook in hooks])
        responses = names([f"response {hook.url}" for hook in response_hooks])
        self._kinds = {
            keys.outbox: [
                delivery(name, TurnReceiver(hook, conversations))
                for name, hook in zip(turns, hooks, strict=True)
            ],
            keys.outbox_responses: [
                delivery(name, ResponseReceiver(hook, pipe, keys, vault))
                for name, hook in zip(responses, response_hooks, strict=True)
            ],
        }
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
                        for deliveries in self._kinds.values():
                            for delivery in deliveries:
                                tasks.create_task(delivery.run(tasks, client))
                        await self._spread()
            except* (LeaseLost, RedisUnavailable, RedisError) as errors:
                logger.warning("webhooks wait: %r", errors.exceptions[0])
            await asyncio.sleep(LOOK_S)

    async def _spread(self) -> None:
        """Hands each entry to all webhooks of its kind, for as long as the lease holds; raises
        LeaseLost."""
        limits = (_AT_ONCE, OUTBOX, self._retention_ms)
        while True:
            for stream, deliveries in self._kinds.items():
                streams = [stream, *(delivery.stream for delivery in deliveries)]
                while deliveries and await self._pipe.send(
                    "EVAL", _SPREAD, len(streams), *streams, *limits
                ):
                    pass
            await asyncio.sleep(LOOK_S)
            if not await self._lease.renew():
                raise LeaseLost


def names(urls: Sequence[str]) -> Iterator[str]:
    """For each a name that stays, also when others come and go; URLs may be secret."""
    seen: Counter[str] = Counter()
    for url in urls:
        seen[url] += 1
        yield hashlib.sha256(f"{seen[url]} {url}".encode()).hexdigest()[:16]
