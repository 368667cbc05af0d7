"""A pipe whose server kills connections, stands still, goes away or takes no more."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.fakes.redis_server import RedisServer
from tests.patience import PATIENCE_S, until
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.owned import telling
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings

pytestmark = pytest.mark.redis

SCRIPTS = Scripts.build(Keys("pipe"), CommonSettings(prefix="pipe"))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(server.url)
    yield client
    await client.aclose()


@pytest.fixture
async def pipe(client: Redis) -> AsyncIterator[Pipe]:
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    yield pipe
    await pipe.aclose()


async def test_a_broken_connection_fails_what_is_under_way_and_is_opened_again(
    pipe: Pipe, client: Redis
) -> None:
    await pipe.connected()
    blocked = pipe.send("BLPOP", "never", 0)
    await asyncio.sleep(0)
    await client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(RedisUnavailable):
        await blocked
    assert await pipe.send("ECHO", "again") == b"again"
    assert pipe.generation == 2


async def test_commands_that_wait_survive_a_broken_connection(pipe: Pipe, client: Redis) -> None:
    await pipe.connected()
    await client.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: not pipe.is_connected)
    replies = [pipe.send("ECHO", str(number)) for number in range(20)]
    assert await asyncio.gather(*replies) == [b"%d" % number for number in range(20)]


async def test_a_silent_server_fails_what_is_under_way_and_loses_nothing_that_waits(
    server: RedisServer, client: Redis
) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=0.5, name="test")
    await pipe.start()
    await pipe.connected()
    server.pause()
    try:
        sent = pipe.send("ECHO", "sent")
        with pytest.raises(RedisUnavailable):
            async with asyncio.timeout(PATIENCE_S):
                await sent
        waiting = pipe.send("ECHO", "waiting")
    finally:
        server.resume()
    async with asyncio.timeout(PATIENCE_S):
        assert await waiting == b"waiting"
    await pipe.aclose()


async def test_a_long_wait_for_a_command_that_blocks_is_no_silence_of_others(client: Redis) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=0.5, name="test")
    await pipe.start()
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(8):
            assert await pipe.send("BLPOP", "never", "0.1") is None
    assert pipe.generation == 1
    await pipe.aclose()


async def test_a_server_that_comes_back_is_found(server: RedisServer, pipe: Pipe) -> None:
    await pipe.connected()
    server.kill()
    await until(lambda: not pipe.is_connected)
    waiting = pipe.send("ECHO", "patient")
    server.restart()
    async with asyncio.timeout(PATIENCE_S):
        assert await waiting == b"patient"
        assert await pipe.call("sweep") == [0, 0, 1]


async def test_a_primary_that_became_a_replica_is_no_place_to_write(
    pipe: Pipe, client: Any
) -> None:
    await client.xadd("pipe:log:run", {"f": '[1,["created",1]]'}, id="0-1")
    append = ("", "0", "run", "5-2", '[2,["attempt",1,null]]')
    asked = ("other", "agent pool someone", "", "1 1 fail 1", 0, 1000, "{}")
    submit = ("runs", 1000, 10, len(asked), *asked)
    await client.zadd("pipe:workers:pool", {"w": time.time() * 1000})
    await client.sadd("pipe:agents:w", "agent")
    await pipe.connected()
    await client.replicaof("127.0.0.1", "1")
    for _ in range(2):
        with pytest.raises(RedisUnavailable):
            await pipe.call("append", *append)
        with pytest.raises(RedisUnavailable):
            await pipe.call("sweep")
        with pytest.raises(RedisUnavailable):
            await pipe.call("submit", *submit)
    await client.replicaof("NO", "ONE")
    assert await pipe.call("append", *append) == b"added"
    assert await pipe.call("submit", *submit) == [[b"ok", b"0"]]


async def test_closing_ends_while_the_connection_breaks(server: RedisServer, client: Redis) -> None:
    for tick in range(12):
        pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
        await pipe.start()
        await pipe.connected()
        owner = pipe._owner
        assert owner is not None
        kill = client.client_kill_filter(_type="normal", skipme=True)
        killer = asyncio.ensure_future(kill)
        for _ in range(tick):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await pipe.aclose()
            await killer
        assert owner.done()


async def test_a_server_that_takes_no_more_is_waited_for_and_nothing_is_lost(
    server: RedisServer, client: Redis
) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=60.0, name="test", max_waiting=40)
    await pipe.start()
    await pipe.connected()
    payload = b"x" * 100_000
    server.pause()
    sent: list[asyncio.Future[Any]] = []
    try:
        while not (sent and sent[-1].done()):  # the sockets' buffers, then the transport, then ours
            sent.append(pipe.send("RPUSH", "list", len(sent), payload))
            await asyncio.sleep(0)
        with pytest.raises(RedisUnavailable, match="too many"):
            await sent.pop()
    finally:
        server.resume()
    assert len(sent) > 40
    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.gather(*sent) == [*range(2, 2 * len(sent) + 2, 2)]
    values = await client.lrange("list", 0, -1)  # type: ignore[misc]
    assert values[::2] == [b"%d" % number for number in range(len(sent))]
    assert pipe.generation == 1
    await pipe.aclose()


async def test_a_callback_hears_that_its_connection_broke(pipe: Pipe, client: Redis) -> None:
    await pipe.connected()
    answers: list[Any] = []
    pipe.send_then(answers.append, "BLPOP", "never", 0)
    pipe.send_then(answers.append, "PING")
    await asyncio.sleep(0)
    await client.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: len(answers) == 2)
    assert [type(answer) for answer in answers] == [RedisUnavailable] * 2


async def test_a_callback_hears_it_too_if_its_command_had_not_left(
    server: RedisServer, client: Redis
) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=0.5, name="test")
    await pipe.start()
    await pipe.connected()
    answers: list[Any] = []
    server.pause()
    try:
        for _ in range(200):  # more than the buffers on the way take
            pipe.send_then(answers.append, "ECHO", b"x" * 100_000)
            await asyncio.sleep(0)
        pipe.send_then(answers.append, "SET", "late", "x")
        waits = pipe.send("PING")
        await until(lambda: not pipe.is_connected)
    finally:
        server.resume()
    assert [type(answer) for answer in answers] == [RedisUnavailable] * 201
    assert await waits == b"PONG"
    assert not await client.exists("late")
    await pipe.aclose()


async def test_a_callback_that_raises_is_no_broken_connection(client: Redis) -> None:
    deaths: list[str] = []
    mistakes: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: mistakes.append(about))
    with telling(lambda name, error: deaths.append(f"{name}: {error!r}")):
        pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
        await pipe.start()
    await pipe.connected()
    pipe.send_then(lambda _: [][0], "PING")
    await until(lambda: deaths)
    assert deaths == ["pipe:test: IndexError('list index out of range')"]
    assert mistakes
    await pipe.aclose()


async def test_answers_that_nobody_asked_for_end_the_connection(pipe: Pipe) -> None:
    await pipe.connected()
    assert await pipe.send("SUBSCRIBE", "one", "two") == [b"subscribe", b"one", 1]
    await until(lambda: pipe.generation == 2)
    assert await pipe.send("ECHO", "in step") == b"in step"


async def test_what_the_server_pushes_is_no_reply(server: RedisServer) -> None:
    client: Redis = Redis.from_url(server.url, protocol=3)
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    commands = ("CLIENT", "TRACKING", "ON", "BCAST"), ("SET", "k", "v"), ("GET", "k"), ("ECHO", "x")
    replies = [pipe.send(*command) for command in commands]
    assert await asyncio.gather(*replies) == [b"OK", b"OK", b"v", b"x"]
    assert await pipe.send("ECHO", "in step") == b"in step"
    await pipe.aclose()
    await client.aclose()
