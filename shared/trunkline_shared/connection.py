"""Clients of Redis made from settings, and the check that a server fits."""

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from trunkline_shared.errors import ConfigError, StartError
from trunkline_shared.settings import CommonSettings

MINIMUM_VERSION = (6, 2)
HEALTH_CHECK_INTERVAL_S = 15  # an idle connection that a firewall dropped is found before use

logger = logging.getLogger(__name__)

_Client = TypeVar("_Client", "redis.Redis", "redis.asyncio.Redis")


def make_redis(settings: CommonSettings, **options: Any) -> redis.asyncio.Redis:
    """A client that answers bytes and never retries by itself; `options` win over ours.

    Connects with its first command, and takes redis://, rediss:// and unix:// URLs; what a URL
    says in its query wins over everything. The caller closes it. Raises ConfigError on a URL
    that redis-py cannot read.
    """
    options = {"retry": AsyncRetry(NoBackoff(), 0), **options}
    client: redis.asyncio.Redis = _client(redis.asyncio.Redis.from_url, settings, options)
    return client


def make_blocking_redis(settings: CommonSettings, **options: Any) -> redis.Redis:
    """The same for threads."""
    return _client(redis.Redis.from_url, settings, {"retry": Retry(NoBackoff(), 0), **options})


async def check_redis(client: redis.asyncio.Redis) -> None:
    """Return when this server can carry us; otherwise StartError, one line, without a password.

    Refused are a server that does not answer, one older than 6.2, and one that may evict keys.
    What an ACL or a proxy hides from us is a warning.
    """
    url = _shown_url(client)
    try:
        await client.ping()
        info = await _info(client)
    except redis.RedisError as error:
        reason = str(error).rstrip(".") or "no answer in time"
        raise StartError(
            f"Redis at {url} is unreachable: {reason}; start it, or give --redis-url "
            "(TRUNKLINE_REDIS_URL)"
        ) from error
    _refuse_old(info.get("redis_version"), url)
    _refuse_eviction(info.get("maxmemory_policy"), url)


def without_password(url: str) -> str:
    """`url` as it may be shown: without user and password, and without its query."""
    parts = urlsplit(url)
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return f"{scheme}{parts.netloc.rpartition('@')[2]}{parts.path}"


def _client(
    from_url: Callable[..., _Client], settings: CommonSettings, options: dict[str, Any]
) -> _Client:
    url = settings.redis_url
    defaults: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "health_check_interval": HEALTH_CHECK_INTERVAL_S,
        "protocol": 2,
    }
    if url.startswith("rediss://"):
        defaults["ssl_check_hostname"] = True  # redis-py 5 leaves it off
    if not url.startswith("unix://"):
        defaults["socket_keepalive"] = True
    try:
        client = from_url(url, **{**defaults, **options})
        # redis-py reads most of a URL only when it makes a connection.
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call,unused-ignore]
    except (ValueError, TypeError, redis.RedisError) as error:
        # TypeError: redis-py hands an unknown name in the query to a constructor.
        raise ConfigError(
            f"--redis-url (TRUNKLINE_REDIS_URL): expected redis://host:port/0, rediss://… or "
            f"unix:///path, got {without_password(url)!r}: {error}"
        ) from error
    return client


async def _info(client: redis.asyncio.Redis) -> dict[str, Any]:
    try:
        return {**await client.info("server"), **await client.info("memory")}
    except redis.ResponseError as error:
        logger.warning("Redis does not let us read INFO: %s", error)
        return {}


def _refuse_old(version: object, url: str) -> None:
    digits = re.match(r"(\d+)\.(\d+)", str(version))
    if digits is None:
        logger.warning("Redis at %s does not tell its version; 6.2 or newer is needed", url)
    elif (int(digits[1]), int(digits[2])) < MINIMUM_VERSION:
        raise StartError(f"Redis at {url} is version {version}; 6.2 or newer is needed")


def _refuse_eviction(policy: object, url: str) -> None:
    if policy is None:
        logger.warning("Redis at %s does not tell its maxmemory-policy; it must be noeviction", url)
    elif policy != "noeviction":
        raise StartError(
            f"Redis at {url} has maxmemory-policy {policy}, which may evict runs; set it with "
            "`redis-cli CONFIG SET maxmemory-policy noeviction` and in its configuration"
        )


def _shown_url(client: redis.asyncio.Redis) -> str:
    pool = client.connection_pool
    where = pool.connection_kwargs
    if "path" in where:
        return f"unix://{where['path']}"
    scheme = "rediss" if issubclass(pool.connection_class, redis.asyncio.SSLConnection) else "redis"
    return f"{scheme}://{where.get('host', 'localhost')}:{where.get('port', 6379)}"
