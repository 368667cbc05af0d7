import asyncio

import pytest
import redis
import redis.asyncio

from tests.fakes.redis_server import RedisServer
from trunkline_shared.connection import (
    check_redis,
    make_blocking_redis,
    make_redis,
    without_password,
)
from trunkline_shared.errors import ConfigError, StartError
from trunkline_shared.settings import CommonSettings

pytestmark = pytest.mark.redis


def settings(url: str, timeout_s: float = 5.0) -> CommonSettings:
    return CommonSettings(redis_url=url, redis_timeout_s=timeout_s)


async def check(url: str, timeout_s: float = 5.0) -> None:
    async with make_redis(settings(url, timeout_s)) as client:
        await check_redis(client)


async def test_a_fitting_server_passes_and_answers_bytes(redis_url: str) -> None:
    async with make_redis(settings(redis_url)) as client:
        await check_redis(client)
        await client.set("key", "value")
        assert await client.get("key") == b"value"
    with make_blocking_redis(settings(redis_url)) as blocking:
        assert blocking.get("key") == b"value"


async def test_tcp_works_too() -> None:
    with RedisServer(tcp=True) as server:
        await check(server.url)


async def test_a_server_that_may_evict_is_refused_with_the_fix() -> None:
    with (
        RedisServer("--maxmemory-policy", "allkeys-lru") as server,
        pytest.raises(StartError, match=r"allkeys-lru.*CONFIG SET maxmemory-policy noeviction"),
    ):
        await check(server.url)


async def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    with pytest.raises(StartError) as refused:
        await check("redis://me:hunter2@127.0.0.1:1/0")
    line = str(refused.value)
    assert "redis://127.0.0.1:1 is unreachable" in line
    assert "hunter2" not in line
    assert "\n" not in line


async def test_a_wrong_password_is_one_line_without_the_password() -> None:
    with RedisServer("--requirepass", "right", tcp=True) as server:
        with pytest.raises(StartError, match="unreachable") as refused:
            await check(f"redis://:hunter2@127.0.0.1:{server.port}/0")
        assert "hunter2" not in str(refused.value)
        await check(f"redis://:right@127.0.0.1:{server.port}/0")


async def test_a_silent_server_is_refused_within_the_timeout() -> None:
    with RedisServer() as server:
        server.pause()
        try:
            async with asyncio.timeout(30):
                with pytest.raises(StartError, match="unreachable"):
                    await check(server.url, 0.2)
        finally:
            server.resume()


async def test_a_server_that_hides_its_info_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with RedisServer("--rename-command", "INFO", "") as server, caplog.at_level("WARNING"):
        await check(server.url)
    assert "maxmemory-policy" in caplog.text


class OldServer(redis.asyncio.Redis):
    async def ping(self, **_: object) -> bool:
        return True

    async def info(self, section: str | None = None, *_: object, **__: object) -> dict[str, str]:
        return {"redis_version": "6.0.16", "maxmemory_policy": "noeviction"}


async def test_an_old_server_is_refused_with_its_version() -> None:
    async with OldServer(host="127.0.0.1") as client:
        with pytest.raises(StartError, match=r"version 6\.0\.16; 6\.2 or newer"):
            await check_redis(client)


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@host", "redis://:hunter2@host:port", "redis://:hunter2@host?colour=blue"],
)
def test_a_url_that_is_none_is_refused_by_option_without_its_password(url: str) -> None:
    for make in (make_redis, make_blocking_redis):
        with pytest.raises(ConfigError, match="--redis-url") as refused:
            make(settings(url))
        assert "hunter2" not in str(refused.value)


def test_tls_checks_the_host_unless_the_url_says_otherwise() -> None:
    pool = make_redis(settings("rediss://host:6380/0")).connection_pool
    assert issubclass(pool.connection_class, redis.asyncio.SSLConnection)
    assert pool.connection_kwargs["ssl_check_hostname"] is True
    assert make_blocking_redis(settings("rediss://host")).connection_pool.make_connection()
    lax = make_redis(settings("rediss://host?ssl_check_hostname=false")).connection_pool
    assert lax.connection_kwargs["ssl_check_hostname"] is False


def test_options_of_the_caller_win() -> None:
    client = make_redis(settings("redis://host"), socket_timeout=None)
    assert client.connection_pool.connection_kwargs["socket_timeout"] is None


def test_a_shown_url_has_no_user_password_or_query() -> None:
    assert without_password("rediss://a:b@h:1/2?password=x") == "rediss://h:1/2"
    assert without_password("nonsense") == "nonsense"
    assert without_password("unix:///tmp/r.sock?db=1") == "unix:///tmp/r.sock"
