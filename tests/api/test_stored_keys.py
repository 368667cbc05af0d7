"""Keys in Redis, as requests meet them."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.api.fake_gateway import application, client
from tests.fakes.memory_redis import MemoryRedis
from trunkline_api.auth import ANONYMOUS, ApiKeys, Principal
from trunkline_api.errors import ApiError
from trunkline_api.lookup import Lookup
from trunkline_api.settings import ApiSettings
from trunkline_api.stored_keys import StoredKeys
from trunkline_shared.api_keys import ApiKey, create, revoke
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts

KEYS = Keys("stored")
SCRIPTS = Scripts.build(KEYS, ApiSettings(prefix="stored"))


class Bed:
    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.pipe = Pipe(redis, SCRIPTS, timeout_s=5.0, name="test")

    def keys(self, *configured: str, patience_s: float = 5.0) -> ApiKeys:
        """As one API process has them."""
        keys = ApiKeys.from_settings(ApiSettings(api_key=configured))
        keys.stored = StoredKeys(Lookup(self.pipe, patience_s=patience_s), KEYS.api_keys)
        return keys

    async def make(self, name: str = "ada", **more: Any) -> str:
        record = ApiKey(name=name, created=int(time.time()), **more)
        return (await create(self.redis, KEYS.api_keys, record))[0]

    async def revoke(self, which: str) -> None:
        await revoke(self.redis, KEYS.api_keys, which, int(time.time()))


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    redis = MemoryRedis()
    bed = Bed(redis)
    await bed.pipe.start()
    yield bed
    await bed.pipe.aclose()
    await redis.aclose()


def sent(*keys: str) -> dict[bytes, bytes]:
    names = (b"x-session-api-key", b"authorization")
    values = (keys[0].encode(), *(f"Bearer {key}".encode() for key in keys[1:]))
    return dict(zip(names, values, strict=False))


async def refusal(keys: ApiKeys, *presented: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await keys.authenticate(sent(*presented) if presented else {})
    return caught.value


async def test_a_stored_key_stands_for_its_principal_and_is_no_admin(bed: Bed) -> None:
    plain = await bed.make("ada", models=("team/*",), max_concurrent=3)
    admin = await bed.make("bob", admin=True)
    keys = bed.keys()
    found = await keys.authenticate(sent(plain))
    assert found == Principal("ada", ("team/*",), 3, admin=False)
    assert await keys.authenticate(sent(admin)) == Principal("bob")


async def test_without_any_key_everybody_is_anonymous(bed: Bed) -> None:
    keys = bed.keys()
    assert await keys.authenticate({}) == ANONYMOUS
    assert await keys.authenticate(sent("whatever")) == ANONYMOUS


async def test_the_first_key_closes_the_door_at_once(bed: Bed) -> None:
    keys = bed.keys()
    assert await keys.authenticate({}) == ANONYMOUS
    await bed.make()
    assert "did not provide" in (await refusal(keys)).message
    assert "Incorrect" in (await refusal(keys, "whatever")).message


async def test_revoking_the_last_key_does_not_open_it_again(bed: Bed) -> None:
    key = await bed.make()
    keys = bed.keys()
    assert (await keys.authenticate(sent(key))).name == "ada"
    await bed.revoke("ada")
    assert "Incorrect" in (await refusal(keys, key)).message
    for process in (keys, bed.keys()):
        assert (await refusal(process)).status == 401


async def test_a_process_that_has_seen_a_key_stays_closed_when_redis_loses_it(bed: Bed) -> None:
    await bed.make()
    keys = bed.keys()
    await refusal(keys)
    await bed.redis.flushall()
    assert (await refusal(keys)).status == 401
    assert (await refusal(keys, "whatever")).status == 401


async def test_an_expired_key_is_told_so(bed: Bed) -> None:
    over = await bed.make(expires=1)
    error = await refusal(bed.keys(), over)
    assert error.status == 401
    assert error.code == "invalid_api_key"
    assert "has expired" in error.message


async def test_one_good_key_is_enough_among_two_headers(bed: Bed) -> None:
    over, good = await bed.make("old", expires=1), await bed.make("new")
    assert (await bed.keys().authenticate(sent(over, good))).name == "new"
    assert (await bed.keys("mine").authenticate(sent(good, "mine"))).name == "key-1"


async def test_configured_keys_work_beside_stored_ones(bed: Bed) -> None:
    keys = bed.keys("mine")
    assert (await keys.authenticate(sent("mine"))).name == "key-1"
    assert (await refusal(keys, "other")).status == 401
    assert (await keys.authenticate(sent(await bed.make()))).name == "ada"


async def test_a_record_that_cannot_be_read_opens_nothing(bed: Bed) -> None:
    key = await bed.make()
    [field] = await bed.redis.hkeys(KEYS.api_keys)  # type: ignore[misc]
    await bed.redis.hset(KEYS.api_keys, field, '{"v": 2}')  # type: ignore[misc]
    assert (await refusal(bed.keys(), key)).status == 401


async def test_without_redis_only_configured_keys_open(bed: Bed) -> None:
    await bed.pipe.aclose()
    open_keys, closed = bed.keys(patience_s=0.05), bed.keys("mine", patience_s=0.05)
    assert (await closed.authenticate(sent("mine"))).name == "key-1"
    assert (await refusal(closed)).status == 401
    refused = [await refusal(open_keys), await refusal(open_keys, "x"), await refusal(closed, "x")]
    assert {(error.status, error.code) for error in refused} == {(503, "redis_unavailable")}
    assert all(error.headers["retry-after"] for error in refused)


async def test_a_hash_that_is_none_opens_nothing(bed: Bed) -> None:
    await bed.redis.set(KEYS.api_keys, "somebody else's")
    assert (await refusal(bed.keys(), "x")).status == 503


async def test_models_are_those_of_the_key(bed: Bed) -> None:
    headers = {"authorization": f"Bearer {await bed.make(models=('team/*',))}"}
    async with client(application(keys=bed.keys())) as http:
        listed = (await http.get("/v1/models", headers=headers)).json()
        assert [model["id"] for model in listed["data"]] == ["team/coder:v2"]
        assert (await http.get("/v1/models/team/coder:v2", headers=headers)).status_code == 200
        refused = await http.get("/v1/models/echo", headers=headers)
        assert refused.status_code == 403
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_allowed", "model")
        assert "may not use the model 'echo'" in error["message"]
        assert (await http.get("/v1/models/nobody", headers=headers)).status_code == 404


async def test_without_redis_models_are_503_that_says_when_to_try_again(bed: Bed) -> None:
    await bed.pipe.aclose()
    async with client(application(keys=bed.keys(patience_s=0.05))) as http:
        reply = await http.get("/v1/models")
        assert reply.status_code == 503
        assert reply.json()["error"]["code"] == "redis_unavailable"
        assert reply.headers["retry-after"] == "1"
