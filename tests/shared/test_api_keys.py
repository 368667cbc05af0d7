import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import pytest
from redis.asyncio import Redis

from trunkline_shared.api_keys import (
    ApiKey,
    check_name,
    create,
    decode,
    digest,
    encode,
    listed,
    revoke,
)
from trunkline_shared.errors import ConfigError

HASH = "keys-of-a-test"
NOW = 1_800_000_000


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.redis)])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "fake":
        client: Redis = fakeredis.FakeAsyncRedis()
    else:
        client = Redis.from_url(request.getfixturevalue("redis_url"))
    yield client
    await client.aclose()


def record(name: str = "ada", **more: Any) -> ApiKey:
    return ApiKey(name=name, created=NOW, **more)


async def states(client: Redis, now: int = NOW) -> list[tuple[str, str]]:
    return [(key.name, key.state(now)) for _, key in await listed(client, HASH)]


def test_a_record_is_read_as_it_was_written() -> None:
    written = record(models=("a", "team/*"), max_concurrent=0, admin=True, expires=NOW + 1)
    assert decode(encode(written)) == written


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"v": 2, "name": "ada", "created": 1}', b"\xff"])
def test_what_this_version_cannot_read_is_no_record(raw: bytes) -> None:
    assert decode(raw) is None


def test_a_key_is_active_until_the_second_in_which_it_expires() -> None:
    key = record(expires=NOW + 10)
    assert [key.state(NOW + s) for s in (9.9, 10)] == ["active", "expired"]
    assert record().state(NOW * 2) == "active"
    assert record(expires=NOW, revoked=NOW).state(NOW) == "revoked"


async def test_redis_gets_the_digest_of_a_key_and_not_the_key(client: Redis) -> None:
    key, first = await create(client, HASH, record())
    assert first
    assert re.fullmatch(r"tl_[A-Za-z0-9_-]{43}", key)
    stored = await client.hgetall(HASH)  # type: ignore[misc]
    assert list(stored) == [digest(key.encode()).encode()]
    assert key[3:] not in str(stored)


async def test_a_name_is_taken_as_long_as_its_key_is_active(client: Redis) -> None:
    await create(client, HASH, record(expires=NOW + 1))
    with pytest.raises(ConfigError, match="there is a key named 'ada'"):
        await create(client, HASH, record())
    _, first = await create(
        client, HASH, record(expires=NOW + 9).model_copy(update={"created": NOW + 1})
    )
    assert not first
    await revoke(client, HASH, "ada", NOW + 2)
    await create(client, HASH, record().model_copy(update={"created": NOW + 3}))
    assert await states(client, NOW + 3) == [
        ("ada", "revoked"),
        ("ada", "revoked"),
        ("ada", "active"),
    ]


async def test_of_many_who_take_one_name_at_once_one_gets_it(client: Redis) -> None:
    made = [create(client, HASH, record()) for _ in range(8)]
    outcomes = await asyncio.gather(*made, return_exceptions=True)
    assert sum(isinstance(outcome, tuple) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ConfigError) for outcome in outcomes) == 7
    assert await states(client) == [("ada", "active")]


async def test_keys_that_are_made_at_once_are_all_there(client: Redis) -> None:
    made = await asyncio.gather(*[create(client, HASH, record(f"n{i}")) for i in range(8)])
    assert sum(first for _, first in made) == 1
    assert len(await listed(client, HASH)) == 8


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_revoked_key_stays_as_a_mark(client: Redis, by_id: bool) -> None:
    key, _ = await create(client, HASH, record())
    await create(client, HASH, record("bob"))
    which = digest(key.encode())[:8] if by_id else "ada"
    assert [found.name for _, found in await revoke(client, HASH, which, NOW)] == ["ada"]
    assert await states(client) == [("ada", "revoked"), ("bob", "active")]
    with pytest.raises(ConfigError, match="no key to revoke"):
        await revoke(client, HASH, which, NOW)


async def test_a_part_of_an_id_revokes_nothing(client: Redis) -> None:
    key, _ = await create(client, HASH, record())
    for which in (digest(key.encode())[:7], "", "bob", key):
        with pytest.raises(ConfigError, match="no key to revoke"):
            await revoke(client, HASH, which, NOW)
    assert await states(client) == [("ada", "active")]


async def test_a_record_of_another_version_is_in_nobodys_way(client: Redis) -> None:
    await client.hset(HASH, "0" * 64, '{"v": 2}')  # type: ignore[misc]
    await create(client, HASH, record())
    assert await states(client) == [("ada", "active")]


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 64, "key-", "key-1a", "sessions"])
def test_a_name_is_plain(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a:b", "ä", "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of a key"):
        check_name(name)


@pytest.mark.parametrize("name", ["anonymous", "session", "key-1", "key-20"])
def test_the_names_of_configured_keys_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="of the configuration"):
        check_name(name)
