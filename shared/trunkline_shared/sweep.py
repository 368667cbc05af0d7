"""The sweep: every process of either tier looks after what its peers left behind."""

import asyncio
import logging
import random

from redis.exceptions import RedisError

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.logs import log_event
from trunkline_shared.pipe import Pipe

logger = logging.getLogger("trunkline.sweep")

EVERY_S = 0.5


async def sweep_forever(pipe: Pipe) -> None:
    """Sweeps each 0.5 s with jitter until cancelled; a Redis that is away is waited for."""
    while True:
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))
        try:
            moved, ended, _ = await pipe.call("sweep")
        except (RedisUnavailable, RedisError) as error:
            logger.warning("sweep failed: %s", error)
            continue
        if moved or ended:
            log_event(logger, "sweep", moved=moved, ended=ended)
