import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.fakes.memory_redis import MemoryRedis
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


async def test_all_commands_of_one_tick_leave_in_one_write() -> None:
    client = MemoryRedis()
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
    await pipe.start()
    await pipe.connected()
    for _ in range(3):
        await asyncio.gather(*[pipe.send("PING") for _ in range(100)])
    assert client.writes == 3
    await pipe.aclose()
    await client.aclose()


async def test_a_callback_gets_the_reply_or_the_error_in_its_turn(pipe: Pipe) -> None:
    answers: list[Any] = []
    pipe.send_then(answers.append, "SET", "k", "v")
    refused = pipe.send("LPUSH", "k", "x")
    pipe.send_then(answers.append, "LPUSH", "k", "x")
    pipe.call_then(answers.append, "sweep")
    assert answers == []
    await pipe.send("PING")
    first, second, third = answers
    assert (first, third) == (b"OK", [0, 0, 1])
    assert isinstance(second, ResponseError)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await refused


async def test_a_callback_may_send(pipe: Pipe) -> None:
    answers: list[Any] = []

    def again(answer: Any) -> None:
        answers.append(answer)
        if answer < 20:
            pipe.send_then(again, "INCR", "counter")

    pipe.send_then(again, "INCR", "counter")
    await until(lambda: len(answers) == 20)
    assert answers == [*range(1, 21)]


async def test_a_callback_hears_of_what_cannot_be_sent_but_not_before_its_sender_goes_on(
    client: Redis,
) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test", max_waiting=1)
    answers: list[Any] = []
    pipe.send_then(answers.append, "PING")
    pipe.send_then(answers.append, "PING")
    assert answers == []
    await asyncio.sleep(0)
    assert [type(answer) for answer in answers] == [RedisUnavailable]
    await pipe.aclose()
    assert [type(answer) for answer in answers] == [RedisUnavailable] * 2
    pipe.send_then(answers.append, "PING")
    await asyncio.sleep(0)
    assert [type(answer) for answer in answers] == [RedisUnavailable] * 3


async def test_what_no_command_is_made_of_is_its_callers_mistake(pipe: Pipe) -> None:
    with pytest.raises(TypeError):
        pipe.send("ECHO", None)  # type: ignore[arg-type]
    assert await pipe.send("ECHO", "still here") == b"still here"


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
