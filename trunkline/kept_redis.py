"""The Redis of a deployment, for commands that look after what it keeps."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis.asyncio import Redis

from trunkline.data_dir import socket_in
from trunkline.settings import ServeSettings
from trunkline_shared.connection import check_redis, make_redis
from trunkline_shared.errors import StartError


def deployment(
    options: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[ServeSettings, Path]:
    """Its settings, and where a `trunkline serve` has its data. Raises ConfigError."""
    given = {name: options[name] for name in ("redis_url", "prefix", "data_dir")}
    settings = ServeSettings.from_environ(environ, **given)
    return settings, settings.data_path(environ)


async def connected(settings: ServeSettings, data_path: Path) -> Redis:
    """Raises StartError."""
    url = settings.redis_url or f"unix://{quote(str(socket_in(data_path)))}"
    client = make_redis(replace(settings, redis_url=url))
    try:
        await check_redis(client)
    except StartError:
        await client.aclose()
        if settings.redis_url:
            raise
        raise StartError(
            f"no `trunkline serve` answers on {data_path}: start it, or give --data-dir "
            "(TRUNKLINE_DATA_DIR) or --redis-url (TRUNKLINE_REDIS_URL)"
        ) from None
    return client
