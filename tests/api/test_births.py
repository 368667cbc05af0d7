import time
from collections.abc import AsyncIterator

import pytest

from tests.api.fake_gateway import AGENTS, application, client
from tests.fakes.memory_redis import MemoryRedis
from trunkline_api.births import Births
from trunkline_api.errors import ApiError
from trunkline_api.lookup import Lookup
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts

KEYS = Keys("births")
SCRIPTS = Scripts.build(KEYS, ApiSettings(prefix="births"))


@pytest.fixture
async def redis() -> AsyncIterator[MemoryRedis]:
    redis = MemoryRedis()
    yield redis
    await redis.aclose()


@pytest.fixture
async def pipe(redis: MemoryRedis) -> AsyncIterator[Pipe]:
    pipe = Pipe(redis, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    yield pipe
    await pipe.aclose()


def births(pipe: Pipe) -> Births:
    """As one API process has them."""
    return Births(Lookup(pipe, patience_s=0.5), KEYS.born)


async def test_a_model_is_as_old_as_its_first_listing(pipe: Pipe) -> None:
    before = int(time.time())
    born = await births(pipe).of(["a", "b"])
    assert list(born) == ["a", "b"]
    assert all(before <= moment <= time.time() for moment in born.values())


async def test_every_process_tells_the_moment_of_the_first(pipe: Pipe, redis: MemoryRedis) -> None:
    await redis.hset(KEYS.born, mapping={"a": 111, "b": 222})
    process = births(pipe)
    assert await process.of(["b"]) == {"b": 222}
    born = await process.of(["a", "new", "b"])
    assert (born["a"], born["b"]) == (111, 222)
    assert await births(pipe).of(["new"]) == {"new": born["new"]}


async def test_what_is_known_needs_no_redis_and_what_is_new_does(pipe: Pipe) -> None:
    process = births(pipe)
    born = await process.of(["a"])
    await pipe.aclose()
    assert await process.of(["a"]) == born
    assert await process.of([]) == {}
    with pytest.raises(ApiError) as caught:
        await process.of(["a", "b"])
    assert (caught.value.status, caught.value.code) == (503, "redis_unavailable")


async def test_listing_without_redis_is_503(pipe: Pipe) -> None:
    await pipe.aclose()
    async with client(application(births=births(pipe))) as http:
        for path in ("/v1/models", "/v1/models/echo"):
            reply = await http.get(path)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert (await http.get("/v1/models/nobody")).status_code == 404


async def test_an_agent_that_comes_later_is_listed_too(pipe: Pipe) -> None:
    agents = dict(AGENTS)
    app = application(births=births(pipe), config=Config(path="agents.yml", agents=agents))
    async with client(app) as http:
        first = (await http.get("/v1/models")).json()["data"]
        app.gateway.config.agents["late"] = AgentConfig(name="late", type="echo")
        then = (await http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in then] == [*AGENTS, "late"]
        assert then[: len(first)] == first
