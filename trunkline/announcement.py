"""How `serve` learns that a worker is there: it appears in Redis."""

import asyncio
from collections.abc import Iterable

import redis
import redis.asyncio

from trunkline_shared.keys import Keys
from trunkline_shared.owned import heed_cancellation

_ASK_AGAIN_S = 0.05


class Announcements:
    """Workers of these pools that were not there when `note_known` was awaited."""

    def __init__(self, client: redis.asyncio.Redis, keys: Keys, pools: Iterable[str]) -> None:
        self._client = client
        self._sets = [keys.workers(pool) for pool in pools]
        self._known: set[bytes] = set()

    async def note_known(self) -> None:
        """Remember the workers of others, and those that died without a word."""
        self._known = await self._announced()

    async def first_new(self) -> None:
        """Return when a worker has announced itself since `note_known`."""
        while True:
            try:
                if await self._announced() - self._known:
                    return
            except redis.RedisError:
                pass  # its end is noticed elsewhere, and a blip passes
            heed_cancellation()
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _announced(self) -> set[bytes]:
        found: set[bytes] = set()
        for name in self._sets:
            found.update(await self._client.zrange(name, 0, -1))
        return found
