import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import fakeredis
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.fakes.redis_server import RedisServer
from tests.patience import PATIENCE_S, until
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings

SCRIPTS = Scripts.build(Keys("pipe"), CommonSettings(prefix="pipe"))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.redis)])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "fake":
        client: Redis = fakeredis.FakeAsyncRedis()
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


async def test_every_reply_finds_its_command(pipe: Pipe) -> None:
    await pipe.connected()
    replies = [pipe.send("ECHO", str(number)) for number in range(500)]
    assert await asyncio.gather(*replies) == [b"%d" % number for number in range(500)]


async def test_commands_run_in_the_order_of_their_sending(pipe: Pipe, client: Redis) -> None:
    for number in range(300):
        pipe.send("RPUSH", "list", number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    await pipe.send("PING")
    values = await client.lrange("list", 0, -1)  # type: ignore[misc]
    assert values == [b"%d" % number for number in range(300)]


async def test_a_refused_command_concerns_nobody_else(pipe: Pipe) -> None:
    before, refused, after = (
        pipe.send("SET", "k", "v"),
        pipe.send("LPUSH", "k", "x"),
        pipe.send("GET", "k"),
    )
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await refused
    assert (await before, await after) == (b"OK", b"v")
    assert pipe.generation == 1


async def test_commands_sent_before_there_is_a_connection_wait_for_it(client: Redis) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    early = pipe.send("ECHO", "early")
    await pipe.start()
    assert await early == b"early"
    await pipe.aclose()


async def test_all_commands_of_one_tick_leave_in_one_write(pipe: Pipe) -> None:
    await pipe.connected()
    writes: list[int] = []
    inner = pipe._write

    async def counted(connection):  # type: ignore[no-untyped-def]
        send = connection.send_packed_command

        async def noted(command, check_health=True):  # type: ignore[no-untyped-def]
            writes.append(len(command))
            await send(command, check_health=check_health)

        connection.send_packed_command = noted
        await inner(connection)

    pipe._write = counted  # type: ignore[method-assign]
    await pipe.aclose()
    pipe._closed = False
    await pipe.start()
    await pipe.connected()
    for _ in range(3):
        await asyncio.gather(*[pipe.send("PING") for _ in range(100)])
    assert len(writes) == 3


async def test_a_caller_that_has_left_disturbs_nobody(pipe: Pipe) -> None:
    await pipe.connected()
    await pipe.send("PING")
    left = pipe.send("ECHO", "left")
    stayed = pipe.send("ECHO", "stayed")
    left.cancel()
    assert await stayed == b"stayed"
    left = pipe.send("ECHO", "left")
    await asyncio.sleep(0)  # it is on its way
    left.cancel()
    assert await pipe.send("ECHO", "after") == b"after"


async def test_scripts_are_there_from_the_first_command(pipe: Pipe) -> None:
    assert await pipe.call("sweep") == [0, 0, 1]


async def test_a_server_that_forgot_the_scripts_gets_them_again(pipe: Pipe, client: Redis) -> None:
    await pipe.call("sweep")
    await client.script_flush()
    lost = pipe.call("sweep")
    behind = pipe.send("SET", "after", "1")
    for reply in (lost, behind):
        with pytest.raises(RedisUnavailable):
            await reply
    await pipe.connected()
    assert await pipe.call("sweep") == [0, 0, 0]
    assert pipe.generation == 2


async def test_too_many_waiting_commands_fail_at_once(client: Redis) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test", max_waiting=3)
    waiting = [pipe.send("PING") for _ in range(3)]
    with pytest.raises(RedisUnavailable):
        await pipe.send("PING")
    await pipe.start()
    assert await asyncio.gather(*waiting) == [b"PONG"] * 3
    assert await pipe.send("PING") == b"PONG"
    await pipe.aclose()


async def test_closing_fails_what_waits_and_what_comes_later(client: Redis) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    waiting = pipe.send("PING")
    await pipe.aclose()
    for reply in (waiting, pipe.send("PING")):
        with pytest.raises(RedisUnavailable):
            async with asyncio.timeout(PATIENCE_S):
                await reply


async def test_failures_that_nobody_waits_for_are_silent(client: Redis) -> None:
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: errors.append(about))
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test", max_waiting=1)
    pipe.send("PING")
    pipe.send("PING")
    await pipe.aclose()
    pipe.send("PING")
    gc.collect()
    await asyncio.sleep(0)
    assert errors == []


@pytest.mark.redis
class TestRealServer:
    """What needs a server that kills connections or stands still."""

    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with RedisServer() as server:
            yield server

    @pytest.fixture
    async def client(self, server: RedisServer) -> AsyncIterator[Redis]:
        client: Redis = Redis.from_url(server.url)
        yield client
        await client.aclose()

    async def test_a_broken_connection_fails_what_is_under_way_and_is_opened_again(
        self, pipe: Pipe, client: Redis
    ) -> None:
        await pipe.connected()
        blocked = pipe.send("BLPOP", "never", 0)
        await asyncio.sleep(0)
        await client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(RedisUnavailable):
            await blocked
        assert await pipe.send("ECHO", "again") == b"again"
        assert pipe.generation == 2

    async def test_commands_that_wait_survive_a_broken_connection(
        self, pipe: Pipe, client: Redis
    ) -> None:
        await pipe.connected()
        await client.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: not pipe.is_connected)
        replies = [pipe.send("ECHO", str(number)) for number in range(20)]
        assert await asyncio.gather(*replies) == [b"%d" % number for number in range(20)]

    async def test_a_silent_server_fails_what_is_under_way_and_loses_nothing_that_waits(
        self, server: RedisServer, client: Redis
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

    async def test_a_long_wait_for_a_command_that_blocks_is_no_silence_of_others(
        self, client: Redis
    ) -> None:
        pipe = Pipe(client, SCRIPTS, timeout_s=0.5, name="test")
        await pipe.start()
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(8):
                assert await pipe.send("BLPOP", "never", "0.1") is None
        assert pipe.generation == 1
        await pipe.aclose()

    async def test_a_server_that_comes_back_is_found(self, server: RedisServer, pipe: Pipe) -> None:
        await pipe.connected()
        server.kill()
        await until(lambda: not pipe.is_connected)
        waiting = pipe.send("ECHO", "patient")
        server.restart()
        async with asyncio.timeout(PATIENCE_S):
            assert await waiting == b"patient"
            assert await pipe.call("sweep") == [0, 0, 1]

    async def test_a_primary_that_became_a_replica_is_no_place_to_write(
        self, pipe: Pipe, client: Any
    ) -> None:
        await client.xadd("pipe:log:run", {"f": '[1,["created",1]]'}, id="0-1")
        append = ("", "0", "run", "5-2", '[2,["attempt",1,null]]')
        await pipe.connected()
        await client.replicaof("127.0.0.1", "1")
        for _ in range(2):
            with pytest.raises(RedisUnavailable):
                await pipe.call("append", *append)
            with pytest.raises(RedisUnavailable):
                await pipe.call("sweep")
        await client.replicaof("NO", "ONE")
        assert await pipe.call("append", *append) == b"added"

    async def test_closing_ends_while_the_connection_breaks(
        self, server: RedisServer, client: Redis
    ) -> None:
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
