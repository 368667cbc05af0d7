"""The tail: logs as later readers follow them, to whom nobody pushes, over one connection."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import RedisError

from trunkline_api.errors import ApiError
from trunkline_api.hub import SILENCE_S, Reader
from trunkline_api.lookup import Lookup
from trunkline_api.relay import PAGE, RunLost
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import RunId

logger = logging.getLogger("trunkline.tail")

BLOCK_S: Final = 5.0
_AGAIN_S: Final = 0.5
_WAKE_LIFE_MS: Final = 60_000


class LogGone(RunLost):
    """The run has no log, or none any more."""


@dataclass(slots=True)
class _Followed:
    """A log; `last` is the id of the entry that its readers got last."""

    last: bytes
    readers: set[Reader] = field(default_factory=set)


class Tail:
    """Feeds readers from logs as the hub does from the reply channel, and misses nothing.

    `pipe` is for the blocking read alone, `lookup` for all else. `name` is this process's own.
    """

    def __init__(
        self,
        pipe: Pipe,
        lookup: Lookup,
        keys: Keys,
        *,
        name: str,
        reader_bytes: int,
        closing: asyncio.Event,
    ) -> None:
        self._pipe = pipe
        self._lookup = lookup
        self._keys = keys
        self._reader_bytes = reader_bytes
        self._closing = closing
        self._followed: dict[bytes, _Followed] = {}
        self._has_readers = asyncio.Event()
        # A read that blocks takes no further log: a stream of our own among them ends it.
        self._wake = keys.tail(name)
        self._woken: bytes = b"0-0"
        self._is_reading = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._pipe.start()
        self._tasks = [
            start_owned(self._run(), "tail"),
            start_owned(self._net(), "tail:net"),
            start_owned(self._close_readers(), "tail:closing"),
        ]

    async def aclose(self) -> None:
        await end_owned(*self._tasks)
        await self._pipe.aclose()

    @asynccontextmanager
    async def reading(self, run_id: str) -> AsyncIterator[Reader]:
        """A reader that gets what is appended from now on; what is there already is in the log.

        Raises LogGone, and ApiError 503 while Redis is away.
        """
        log = self._keys.log(run_id)
        (top,) = await self._lookup.ask(("XREVRANGE", log, "+", "-", "COUNT", 1))
        if not top:
            raise LogGone("the log of the run is gone")
        reader, key = Reader(RunId(run_id), self._reader_bytes), log.encode()
        is_new = key not in self._followed
        followed = self._followed.setdefault(key, _Followed(top[0][0]))
        followed.readers.add(reader)
        try:
            if self._closing.is_set():
                reader.close(shutting_down=True)
            self._has_readers.set()
            if is_new and self._is_reading:
                await self._end_read()
            yield reader
        finally:
            reader.discard()
            followed.readers.discard(reader)
            if not followed.readers:
                del self._followed[key]
            if not self._followed:
                self._has_readers.clear()

    async def _end_read(self) -> None:
        try:
            await self._lookup.ask(
                ("XADD", self._wake, "MAXLEN", "1", "*", "w", "1"),
                ("PEXPIRE", self._wake, _WAKE_LIFE_MS),
            )
        except ApiError:  # Redis is full, for one
            logger.warning("a log is followed late: the reading of others could not be ended")

    async def _run(self) -> None:
        while True:
            await self._has_readers.wait()
            await self._pipe.connected()
            ids = {self._wake.encode(): self._woken}
            ids |= {key: each.last for key, each in self._followed.items()}
            read = ("XREAD", "COUNT", PAGE, "BLOCK", int(BLOCK_S * 1000), "STREAMS")
            self._is_reading = True
            try:
                self._take(await self._pipe.send(*read, *ids, *ids.values()))
            except RedisUnavailable:
                await asyncio.sleep(0)  # the pipe notes its loss before we ask again
            except RedisError as error:
                # Somebody wrote something else there; whose log it is, finds out alone.
                logger.error("the logs cannot be read: %s", error)
                self._look_into_logs(older_than_s=0.0)
                await asyncio.sleep(_AGAIN_S)
            finally:
                self._is_reading = False

    def _take(self, answer: Any) -> None:
        rows = answer.items() if isinstance(answer, dict) else answer or ()  # RESP3, RESP2
        for key, entries in rows:
            if key == self._wake.encode():
                self._woken = entries[-1][0]
                continue
            followed = self._followed.get(key)
            if followed is None:
                continue  # its last reader has left
            followed.last = entries[-1][0]
            for reader in followed.readers:
                for stream_id, fields in entries:
                    reader.push(stream_id, fields[1])

    async def _net(self) -> None:
        """A log that is deleted says nothing, nor does a Redis that is away: who hears nothing for
        5 s looks, and so finds either."""
        while True:
            await asyncio.sleep(SILENCE_S)
            self._look_into_logs(older_than_s=SILENCE_S)

    def _look_into_logs(self, *, older_than_s: float) -> None:
        horizon = time.monotonic() - older_than_s
        for followed in self._followed.values():
            for reader in followed.readers:
                if reader.heard_at <= horizon:
                    reader.look_into_log()

    async def _close_readers(self) -> None:
        await self._closing.wait()
        for followed in self._followed.values():
            for reader in followed.readers:
                reader.close(shutting_down=True)
