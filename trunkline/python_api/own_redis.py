"""A Redis that lives and dies with a server inside a program."""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from trunkline.embedded_redis import EmbeddedRedis
from trunkline.python_api.patience import until_ended
from trunkline_shared.owned import end_owned, start_owned

_PREFIX = "trunkline-redis-"
_SETTLED_S = 60.0  # a directory this old is locked, or nobody's


@asynccontextmanager
async def own_redis(data_dir: Path | None, search_path: str) -> AsyncIterator[str]:
    """Its URL. It keeps its data in `data_dir`, or in memory. Should it end by itself, whoever is
    `telling` hears of it. Raises StartError."""
    if data_dir is not None:
        async with _running(data_dir, search_path, keep=True) as url:
            yield url
        return
    _remove_leftovers(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as directory:
        async with _running(Path(directory), search_path, keep=False) as url:
            yield url


@asynccontextmanager
async def _running(directory: Path, search_path: str, *, keep: bool) -> AsyncIterator[str]:
    redis = await EmbeddedRedis.start(directory, search_path, keep=keep)
    watch = start_owned(_until_it_ends(redis), "the embedded Redis")
    try:
        yield redis.url
    finally:
        await end_owned(watch)
        stopping = asyncio.create_task(redis.stop(), name="stop redis")
        if await until_ended(stopping, hurry=lambda: None):
            raise asyncio.CancelledError


async def _until_it_ends(redis: EmbeddedRedis) -> None:
    code = await redis.child.wait()
    raise RuntimeError(f"exit code {code}, {redis.last_words()!r}")


def _remove_leftovers(where: Path) -> None:
    """The directories of programs that were killed: nobody holds their lock any more."""
    for directory in where.glob(f"{_PREFIX}*"):
        with suppress(OSError), open(directory / "lock") as lock:
            found = os.fstat(lock.fileno())
            if found.st_uid == os.geteuid() and time.time() - found.st_mtime > _SETTLED_S:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
