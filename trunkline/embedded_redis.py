"""A Redis of our own: a private child on a unix socket, its data kept in the data directory."""

import asyncio
import os
import re
import sys
import time
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis

from trunkline.child import Child
from trunkline.data_dir import DataDir
from trunkline.redis_binary import RedisBinary, find_redis
from trunkline_shared.connection import MINIMUM_VERSION, make_redis
from trunkline_shared.errors import StartError
from trunkline_shared.settings import CommonSettings

START_TIMEOUT_S = 30.0  # to the first answer; loading the data may take longer than that
STOP_TIMEOUT_S = 15.0  # SIGTERM makes it write out what it holds
MULTI_PART_AOF = (7, 0)  # from here on a server keeps its append-only file in a directory
_TOO_NEW = "Can't handle RDB format version"
_EXEC_TETHERED = Path(__file__).with_name("exec_tethered.py")


class EmbeddedRedis:
    """Runs from `start` to `stop`; ends by itself when this process dies.

    On Linux already when the thread ends that started it; elsewhere it may outlive a `kill -9` of
    this process, and then keeps the data directory to itself.
    """

    def __init__(self, data: DataDir, binary: RedisBinary, *, keep: bool = True) -> None:
        self._data = data
        self._binary = binary
        self._log = data.redis / "redis.log"
        socket = data.socket_path()
        self.url = f"unix://{quote(str(socket))}"
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))
        with open(self._log, "wb", opener=_open_private) as output:
            self.child = Child(
                "redis",
                (*_tethered(), *_command(binary.path, socket, data.redis, keep)),
                # A Redis that outlives us must keep the directory from the next one.
                pass_fds=(data.lock,),
                output=output,
            )

    @classmethod
    async def start(cls, data_dir: Path, search_path: str, *, keep: bool = True) -> Self:
        """Return when it takes commands. Without `keep` it writes no data to the directory.

        Raises StartError, one line, when it cannot.
        """
        data = await DataDir.open(data_dir)
        try:
            started = cls(data, _fitting_binary(data, search_path), keep=keep)
        except BaseException:
            data.close()
            raise
        try:
            await started._ready()
        except BaseException:
            await started.stop()
            raise
        return started

    async def stop(self) -> None:
        """End it with its data written out. Must be awaited whatever happens."""
        self.child.terminate()
        if not await self.child.ended_within(STOP_TIMEOUT_S):
            self.child.kill()
            await self.child.wait()
        self._data.close()

    def last_words(self) -> str:
        """The line of its log that says best why it ended."""
        lines = self._log.read_text(errors="replace").splitlines()
        lines = [re.sub(r"^\d+:\w .*? ([#*.-]) ", r"\1 ", line) for line in lines if line.strip()]
        # "#" marks a warning; the hints about the machine's memory settings are of that level too.
        warnings = [w for w in lines if w.startswith("# ") and "overcommit" not in w]
        newer = [w for w in warnings if _TOO_NEW in w]  # what follows it only says that it failed
        return (newer or warnings or lines or ["its log is empty"])[-1].lstrip("#*.- ")

    async def _ready(self) -> None:
        settings = CommonSettings(redis_url=self.url, redis_timeout_s=1.0)
        deadline = time.monotonic() + START_TIMEOUT_S
        async with make_redis(settings) as client:
            while self.child.code is None:
                try:
                    await client.ping()
                    return
                except redis.exceptions.BusyLoadingError:
                    deadline = time.monotonic() + START_TIMEOUT_S
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise self._failure("gave no answer") from None
                await asyncio.sleep(0.02)
        raise self._failure("did not start")

    def _failure(self, what: str) -> StartError:
        server = f"{self._binary.path}, {'.'.join(map(str, self._binary.version))}"
        words = self.last_words()
        if _TOO_NEW in words:
            return StartError(
                f"the data in {self._data.path} was written by a newer Redis than {server}: "
                "install that one, or give another --data-dir"
            )
        return StartError(
            f"the embedded Redis ({server}) {what}: {words!r} (log: {self._log}); "
            "mend that, or give another --data-dir"
        )


def _fitting_binary(data: DataDir, search_path: str) -> RedisBinary:
    # An older server would not see the newer one's file and start empty beside it.
    if not (data.redis / "appendonlydir").is_dir():
        return find_redis(search_path, MINIMUM_VERSION)
    try:
        return find_redis(search_path, MULTI_PART_AOF)
    except StartError as error:
        raise StartError(
            f"the data in {data.path} was written by Redis 7 or newer; {error}"
        ) from None


def _tethered() -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", str(_EXEC_TETHERED), str(os.getpid()))


def _command(binary: Path, socket: Path, directory: Path, keep: bool) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes" if keep else "no",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "stream-node-max-bytes": "1024",  # the log of a short run has one, with room kept free
        "daemonize": "no",
    }
    return [
        str(binary),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
