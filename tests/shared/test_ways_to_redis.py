"""What a pipe and a channel promise holds whichever way leads to Redis, on both event loops."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio import Sentinel as SentinelClient
from redis.exceptions import ConnectionError

from tests.fakes.certificate import Certificate
from tests.fakes.redis_sentinel import RedisSentinel
from tests.fakes.redis_server import RedisServer, binary_with_tls
from tests.patience import PATIENCE_S, until
from trunkline_shared.channel import Channel
from trunkline_shared.connection import make_redis
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings

pytestmark = pytest.mark.redis

SCRIPTS = Scripts.build(Keys("ways"), CommonSettings(prefix="ways"))
BIG = bytes(range(256)) * 10_000
ADA = ("--user", "ada", "on", ">secret", "~*", "&*", "+@all", "--user", "default", "off")

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(work)

    return run


async def keep_their_promises(client: Redis) -> None:
    pipe = Pipe(client, SCRIPTS, timeout_s=10.0, name="test")
    heard: list[bytes] = []
    connects: list[int] = []
    channel = Channel(
        client,
        pipe,
        "news",
        timeout_s=10.0,
        on_message=heard.append,
        on_connected=lambda: connects.append(len(heard)),
    )
    await pipe.start()
    await channel.start()
    async with asyncio.timeout(PATIENCE_S):
        await channel.ready()
        await one_round(pipe, heard)
        await client.client_kill_filter(_type="pubsub")
        await client.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: pipe.generation == 2 and len(connects) == 2)
        heard.clear()
        await one_round(pipe, heard)
        await channel.aclose()
        await pipe.aclose()
    with pytest.raises(RedisUnavailable):
        await pipe.send("PING")
    await client.aclose()


async def one_round(pipe: Pipe, heard: list[bytes]) -> None:
    answers: list[Any] = []
    echoed = pipe.send("ECHO", BIG)
    pipe.send_then(answers.append, "INCR", "counter")
    replies = [pipe.send("ECHO", str(number)) for number in range(300)]
    published = [pipe.send("PUBLISH", "news", str(number)) for number in range(300)]
    published.append(pipe.send("PUBLISH", "news", BIG))
    assert len(await pipe.call("sweep")) == 3
    assert await echoed == BIG
    assert await asyncio.gather(*replies) == [b"%d" % number for number in range(300)]
    assert set(await asyncio.gather(*published)) == {1}
    assert len(answers) == 1
    await until(lambda: len(heard) == 301)
    assert heard == [*(b"%d" % number for number in range(300)), BIG]


def to(url: str, **options: Any) -> Redis:
    """As the tiers make it for their pipes."""
    options = {"socket_timeout": None, "health_check_interval": 0, **options}
    return make_redis(CommonSettings(redis_url=url), **options)


def role(server: RedisServer) -> Any:
    with server.client() as client:
        return client.execute_command("ROLE")


def is_primary(server: RedisServer) -> bool:
    try:
        return bool(role(server)[0] == b"master")
    except ConnectionError:  # Sentinel cuts the connections of whom it promotes
        return False


async def wrote(pipe: Pipe) -> bool:
    try:
        return bool(await pipe.send("SET", "after", "1"))
    except RedisUnavailable:
        return False


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "unix"])
@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
def test_a_plain_server(run: Run, tcp: bool, protocol: int) -> None:
    async def talk() -> None:
        await keep_their_promises(to(server.url, protocol=protocol))

    with RedisServer(tcp=tcp) as server:
        run(talk())


def test_a_user_with_a_password_in_a_database_of_its_own(run: Run) -> None:
    async def talk() -> None:
        url = f"redis://ada:secret@127.0.0.1:{server.port}/3"
        names: list[str] = []
        async with to(url) as client:
            pipe = Pipe(to(url, client_name="pipe"), SCRIPTS, timeout_s=5.0, name="test")
            await pipe.start()
            await pipe.send("SET", "where", "here")
            assert await client.get("where") == b"here"
            names = [each["name"] for each in await client.client_list()]
            await pipe.aclose()
        assert "pipe" in names
        await keep_their_promises(to(url))

    with RedisServer(*ADA, tcp=True) as server:
        run(talk())


@contextmanager
def server_with_tls(directory: Path, *options: str) -> Iterator[str]:
    binary = binary_with_tls()
    if binary is None:
        pytest.skip("no redis-server on PATH was built with TLS")
    with RedisServer(*options, tls=Certificate.make(directory), binary=binary) as server:
        yield server.url


def test_tls(run: Run, tmp_path: Path) -> None:
    async def talk(url: str) -> None:
        await keep_their_promises(to(url))

    with server_with_tls(tmp_path) as url:
        run(talk(url))


def test_tls_with_a_user(run: Run, tmp_path: Path) -> None:
    async def talk(url: str) -> None:
        await keep_their_promises(to(url.replace("//", "//ada:secret@", 1)))

    with server_with_tls(tmp_path, *ADA) as url:
        run(talk(url))


def test_tls_whose_certificate_nobody_vouches_for_is_no_way(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(url: str) -> None:
        async with to(url.partition("?")[0]) as client:
            pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
            await pipe.start()
            await until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
            assert not pipe.is_connected
            await pipe.aclose()

    with server_with_tls(tmp_path) as url:
        run(talk(url))


def test_a_sentinel_is_asked_for_the_primary_each_time(run: Run) -> None:
    async def talk(primary: RedisServer, replica: RedisServer, sentinel: RedisSentinel) -> None:
        asked = SentinelClient([("127.0.0.1", sentinel.port)])
        client = asked.master_for("main")
        pipe = Pipe(client, SCRIPTS, timeout_s=5.0, name="test")
        await pipe.start()
        await pipe.connected()
        await until(sentinel.fails_over)
        await until(lambda: is_primary(replica))
        primary.kill()
        async with asyncio.timeout(PATIENCE_S):
            while not await wrote(pipe):
                await pipe.connected()
        with replica.client() as at_replica:
            assert at_replica.get("after") == b"1"
        await pipe.aclose()
        await keep_their_promises(client)
        for each in asked.sentinels:
            await each.aclose()

    with RedisServer("--repl-diskless-sync-delay", "0", tcp=True) as primary:
        follow = ("--replicaof", "127.0.0.1", str(primary.port))
        with RedisServer(*follow, tcp=True) as replica:
            # Sentinel asks for replicas when it comes, and then every 10 s.
            asyncio.run(until(lambda: role(primary)[2]))
            with RedisSentinel(primary) as sentinel:
                run(talk(primary, replica, sentinel))
