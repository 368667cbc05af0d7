"""Short questions to Redis that a request waits for."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.exceptions import RedisError

from trunkline_api.errors import redis_away
from trunkline_api.time_limit import TimeLimit
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Argument

Command: TypeAlias = Sequence[Argument]

logger = logging.getLogger(__name__)


class Lookup:
    """`pipe` is shared with the rest of the process; for `patience_s` Redis may be away."""

    def __init__(self, pipe: Pipe, *, patience_s: float) -> None:
        self._pipe = pipe
        self._limit = TimeLimit(patience_s)

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers, for one round trip. May ask more than once: only what bears that.

        Raises ApiError 503 when Redis is away for longer than the patience, or refuses.
        """
        try:
            with self._limit:
                return await self._until_answered(commands)
        except TimeoutError as error:
            raise redis_away() from error
        except RedisError as error:
            logger.error("redis refused %s: %s", commands[0][0], error)
            raise redis_away() from error

    async def _until_answered(self, commands: Sequence[Command]) -> list[Any]:
        while True:
            await self._pipe.connected()
            try:
                return await asyncio.gather(*[self._pipe.send(*each) for each in commands])
            except RedisUnavailable:
                await asyncio.sleep(0)  # the pipe notes its loss before we ask again
