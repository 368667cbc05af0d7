import pytest
from redis.asyncio import Redis

from tests.fakes.memory_redis import MemoryRedis
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.vault import Unreadable, Vault
from trunkline_worker.claude_code.sessions import StoredSessions, Taken

KEYS = Keys("test")


def taken(run_id: str, session: str = "s") -> Taken:
    return Taken(run_id, "coder", session, "digest", [{"type": "user", "text": "planted"}])


async def check(client: Redis) -> None:
    sessions = StoredSessions(client, KEYS, Vault("secret"), 60)
    assert await sessions.load("c") == []
    await sessions.save("c", taken("1"), new=True)
    await sessions.save("c", taken("2"), new=False)
    elsewhere = StoredSessions(client, KEYS, Vault("new", ["secret"]), 60)
    assert await elsewhere.load("c") == [taken("1"), taken("2")]
    assert not any(b"planted" in each for each in await client.lrange(KEYS.session("c"), 0, -1))
    assert 50_000 < await client.pttl(KEYS.session("c")) <= 60_000
    await elsewhere.save("c", taken("3", "t"), new=True)
    assert await elsewhere.load("c") == [taken("3", "t")]
    with pytest.raises(Unreadable):
        await sessions.load("c")


async def test_a_session_is_found_by_every_worker_and_sealed() -> None:
    client = MemoryRedis()
    await check(client)
    await client.aclose()


@pytest.mark.redis
async def test_a_session_is_kept_in_a_real_redis(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        await check(client)


async def test_a_redis_that_does_not_answer_is_told() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as client:
        sessions = StoredSessions(client, KEYS, Vault(None), 60)
        with pytest.raises(RedisUnavailable):
            await sessions.load("c")
        with pytest.raises(RedisUnavailable):
            await sessions.save("c", taken("1"), new=False)
