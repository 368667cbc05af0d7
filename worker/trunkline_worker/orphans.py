"""Finds runs whose reader is gone: no API process listens to their reply channel any more."""

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe

logger = logging.getLogger("trunkline.orphans")

EVERY_S = 2.5
DEAF_S = 10.0  # longer than a hub needs to reconnect; with the above at most 15 s


class OrphanWatch:
    """Cancels runs whose reply channel nobody has listened to for 10 s, and that nobody else reads.

    `replies()` gives run id → reply channel of the foreground runs in this worker.
    """

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        *,
        replies: Callable[[], dict[str, str]],
        cancel: Callable[[str], None],
    ) -> None:
        self._pipe = pipe
        self._keys = keys
        self._replies = replies
        self._cancel = cancel
        self._deaf_since: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.look(asyncio.get_running_loop().time())
            except (RedisUnavailable, RedisError) as error:
                self._deaf_since.clear()
                logger.warning("readers could not be counted: %s", error)

    async def look(self, now: float) -> None:
        """One count of readers, at `now` on the loop's clock."""
        replies = self._replies()
        channels = sorted(set(replies.values()))
        if not channels:
            self._deaf_since.clear()
            return
        counts = await self._pipe.send("PUBSUB", "NUMSUB", *channels)
        readers = zip(counts[::2], counts[1::2], strict=True)
        deaf = {name.decode() for name, count in readers if not count}
        self._deaf_since = {name: self._deaf_since.get(name, now) for name in deaf}
        gone = {name for name, since in self._deaf_since.items() if now - since >= DEAF_S}
        lonely = [run_id for run_id, reply in replies.items() if reply in gone]
        reads = [self._pipe.send("HGET", self._keys.run(run_id), "read") for run_id in lonely]
        for run_id, read in zip(lonely, await asyncio.gather(*reads), strict=True):
            if read is None:
                self._cancel(run_id)
