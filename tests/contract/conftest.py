from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis

from tests.contract.script_bed import Bed


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.redis)])
async def bed(request: pytest.FixtureRequest) -> AsyncIterator[Bed]:
    """An empty Redis with the scripts: an imitation in this process, or a server."""
    if request.param == "fake":
        client: Redis = fakeredis.FakeAsyncRedis()
    else:
        client = Redis.from_url(request.getfixturevalue("redis_url"))
    bed = Bed(client)
    await bed.load()
    yield bed
    await client.aclose()
