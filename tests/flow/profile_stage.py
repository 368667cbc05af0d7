"""An API process and a real worker around one Redis, where profiles are saved and asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.api.profile_bed import PREFIX, SECRET_KEY, api
from tests.patience import PATIENCE_S
from trunkline_shared.config.models import Config
from trunkline_shared.connection import make_redis
from trunkline_shared.keys import Keys
from trunkline_worker.backends.build import Backends
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import Worker


@asynccontextmanager
async def profile_stage(redis_url: str, **worker: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API; `worker` are fields of WorkerSettings."""
    values = {"redis_url": redis_url, "prefix": PREFIX, "secret_key": SECRET_KEY, **worker}
    settings = WorkerSettings(upstream_retries=0, **values)
    backends = Backends(Config(path="agents.yml", agents={}), settings, {})
    await backends.open()
    redis = make_redis(settings, socket_timeout=None, health_check_interval=0)
    process = Worker(settings, redis, backends, handle_signals=False)
    task = asyncio.create_task(process.async_run())
    try:
        await _announced(redis, process, task)
        async with api(redis_url) as http:
            http.timeout = httpx.Timeout(PATIENCE_S)
            yield http
    finally:
        process._stopping.set()
        await task
        await redis.aclose()
        await backends.aclose()


async def _announced(redis: Any, process: Worker, task: "asyncio.Task[Any]") -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await redis.zscore(Keys(PREFIX).workers("default"), process.worker_id) is None:
            assert not task.done()
            await asyncio.sleep(0.01)
