import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.fakes.memory_redis import MemoryRedis
from tests.fakes.redis_server import RedisServer
from tests.patience import until
from trunkline_shared.channel import Channel
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings

SCRIPTS = Scripts.build(Keys("channel"), CommonSettings(prefix="channel"))


class Heard:
    """A channel and what came over it."""

    def __init__(self, client: Redis, pipe: Pipe, *, echo_s: float = 2.0) -> None:
        self.messages: list[bytes] = []
        self.connects = 0
        self.channel = Channel(
            client,
            pipe,
            "news",
            timeout_s=5.0,
            on_message=self.messages.append,
            on_connected=self._connected,
            echo_s=echo_s,
        )

    def _connected(self) -> None:
        self.connects += 1


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.redis)])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "fake":
        client: Redis = MemoryRedis()
    else:
        client = Redis.from_url(request.getfixturevalue("redis_url"))
    yield client
    await client.aclose()


@pytest.fixture
async def pipe(client: Redis) -> AsyncIterator[Pipe]:
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    yield pipe
    await pipe.aclose()


async def test_what_is_published_once_it_is_ready_is_heard_in_order(
    client: Redis, pipe: Pipe
) -> None:
    heard = Heard(client, pipe)
    assert not heard.channel.is_ready
    await heard.channel.start()
    await heard.channel.ready()
    for number in range(100):
        pipe.send("PUBLISH", "news", str(number))
    await until(lambda: len(heard.messages) == 100)
    assert heard.messages == [b"%d" % number for number in range(100)]
    assert heard.connects == 1
    await heard.channel.aclose()


async def test_its_own_echo_is_no_message_and_keeps_it_alive(client: Redis, pipe: Pipe) -> None:
    heard = Heard(client, pipe, echo_s=0.05)
    await heard.channel.start()
    await heard.channel.ready()
    began = heard.channel._heard_at
    await until(lambda: heard.channel._heard_at > began + 0.3)
    assert heard.messages == []
    assert heard.connects == 1
    await heard.channel.aclose()


@pytest.mark.redis
async def test_a_broken_subscription_is_made_again_and_said_so(redis_url: str) -> None:
    client: Redis = Redis.from_url(redis_url)
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    heard = Heard(client, pipe)
    await heard.channel.start()
    await heard.channel.ready()
    await client.client_kill_filter(_type="pubsub")
    await until(lambda: heard.connects == 2)
    assert heard.channel.is_ready
    await pipe.send("PUBLISH", "news", "again")
    await until(lambda: heard.messages == [b"again"])
    await heard.channel.aclose()
    await pipe.aclose()
    await client.aclose()


@pytest.mark.redis
async def test_a_subscription_that_died_silently_is_found_by_its_missing_echo(
    redis_url: str,
) -> None:
    client: Redis = Redis.from_url(redis_url)
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    heard = Heard(client, pipe, echo_s=0.2)
    await heard.channel.start()
    await heard.channel.ready()
    # Nothing comes any more, and nobody says why: as if a firewall had forgotten the connection.
    heard.channel._name = "elsewhere"
    await until(lambda: heard.connects == 2)
    await heard.channel.aclose()
    await pipe.aclose()
    await client.aclose()


@pytest.mark.redis
async def test_a_server_that_is_away_is_waited_for() -> None:
    with RedisServer() as server:
        client: Redis = Redis.from_url(server.url)
        pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
        await pipe.start()
        heard = Heard(client, pipe)
        await heard.channel.start()
        await heard.channel.ready()
        server.kill()
        await until(lambda: not heard.channel.is_ready)
        server.restart()
        await until(lambda: heard.connects == 2)
        await heard.channel.aclose()
        await pipe.aclose()
        await client.aclose()


async def test_a_server_that_stays_away_is_asked_less_and_less(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere: Redis = Redis.from_url("unix:///nowhere/redis.sock")
    heard = Heard(nowhere, pipe)
    began = asyncio.get_running_loop().time()
    await heard.channel.start()
    await until(lambda: len(caplog.messages) == 4)
    assert asyncio.get_running_loop().time() - began >= 0.6  # 0.1 + 0.2 + 0.4 s
    await heard.channel.aclose()
    await nowhere.aclose()


@pytest.mark.redis
async def test_a_subscription_that_is_refused_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    deaf = ("--user", "default", "on", "nopass", "~*", "+@all", "resetchannels", "&elsewhere")
    with RedisServer(*deaf) as server:
        client: Redis = Redis.from_url(server.url)
        pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
        heard = Heard(client, pipe)
        await heard.channel.start()
        await until(lambda: len(caplog.messages) == 2)
        assert "subscription lost" in caplog.text
        assert "permission" in caplog.text or "NOPERM" in caplog.text
        assert not heard.channel.is_ready
        await client.execute_command("ACL", "SETUSER", "default", "&*")
        await heard.channel.ready()
        await heard.channel.aclose()
        await client.aclose()
