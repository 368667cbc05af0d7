"""One ordered connection to Redis on which nobody waits for anybody.

All commands of one loop tick leave in one write, replies are matched first-in first-out. Built on
redis-py's `Connection`, so TLS, ACL, Sentinel and RESP stay its business; what is left out is the
per-command cost of its client (a pool round, two tasks switches and a lock per command).
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.scripts import Argument, ScriptName, Scripts

logger = logging.getLogger("trunkline.redis")

IDLE_S = 15.0
_FIRST_BACKOFF_S = 0.02
_LAST_BACKOFF_S = 1.0
_STEADY_S = 1.0  # a connection that was of use for so long begins with the first backoff again


@dataclass(slots=True)
class _Call:
    command: tuple[Argument, ...]
    reply: asyncio.Future[Any]
    sent_at: float = 0.0


class Pipe:
    """Calls in order over one connection that is opened again whenever it breaks.

    A call whose reply is unknown when the connection breaks raises RedisUnavailable: it may or may
    not have run. `timeout_s` without an answer counts as broken. Commands made while there is no
    connection wait for it, at most `max_waiting` of them; then RedisUnavailable at once.
    """

    def __init__(
        self,
        client: Redis,
        scripts: Scripts,
        *,
        timeout_s: float,
        name: str,
        max_waiting: int = 10_000,
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._timeout_s = timeout_s
        self._name = name
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._out: list[_Call] = []
        self._inflight: deque[_Call] = deque()
        self._wake = asyncio.Event()
        self._connected = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._closed = False
        self._sent_at = 0.0
        self.generation = 0  # counts connections; a change means that replies may have been lost

    async def start(self) -> None:
        """Begins to connect. Does not wait: `connected` does."""
        self._owner = start_owned(self._run(), f"pipe:{self._name}")

    async def aclose(self) -> None:
        """What waits fails, and so does whatever is asked from now on."""
        self._closed = True
        await end_owned(self._owner)
        self._fail_all(self._out)
        self._out = []

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    async def connected(self) -> None:
        await self._connected.wait()

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Queues one command; it leaves with all others of this loop tick."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        if self._closed or len(self._out) >= self._max_waiting:
            why = "the connection is closed" if self._closed else "too many commands wait for Redis"
            reply.set_exception(RedisUnavailable(why))
            reply.exception()  # marks it as seen: the caller may be gone
            return reply
        self._out.append(_Call(command, reply))
        self._wake.set()
        return reply

    def call(self, script: ScriptName, *arguments: Argument) -> asyncio.Future[Any]:
        """Queues the call of one script."""
        return self.send(*self._scripts.call(script, *arguments))

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while not self._closed:  # a cancellation gets lost where a task group fails just then
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            opened_at = math.inf
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()
                    await self._load_scripts(connection)
                self.generation += 1
                opened_at = self._loop.time()
                self._connected.set()
                await self._serve(connection)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("redis connection %s lost: %s", self._name, error or type(error))
            finally:
                self._connected.clear()
                self._fail_all(self._inflight)
                self._inflight.clear()
                await connection.disconnect(nowait=True)
            if self._loop.time() - opened_at > _STEADY_S:
                backoff = _FIRST_BACKOFF_S
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF_S)

    async def _load_scripts(self, connection: AbstractConnection) -> None:
        # Only what is missing: Redis 6.2 writes every load into its append-only file.
        await connection.send_command("SCRIPT", "EXISTS", *self._scripts.shas.values())
        known = await connection.read_response()
        for name, is_known in zip(self._scripts.shas, known, strict=True):
            if not is_known:
                await connection.send_command("SCRIPT", "LOAD", self._scripts.texts[name])
                await connection.read_response()

    async def _serve(self, connection: AbstractConnection) -> None:
        """Runs the three loops of one connection; the first error of any ends them all."""
        loops: list[Callable[[AbstractConnection], Awaitable[None]]]
        loops = [self._write, self._read, self._watch]
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in loops:
                    tasks.create_task(each(connection))  # type: ignore[arg-type]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            calls = [call for call in self._out if not call.reply.done()]
            self._out.clear()
            if not calls:
                continue
            self._sent_at = now = self._loop.time()
            for call in calls:
                call.sent_at = now
            self._inflight.extend(calls)
            # redis-py's own packer is Python, and costs more than the rest of the call.
            packed = [hiredis.pack_command(call.command) for call in calls]  # type: ignore[arg-type]
            await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            error: ResponseError | None = None
            answer: Any = None
            try:
                answer = await connection.read_response()
            except ResponseError as refusal:
                error = refusal
            if error is not None and _leads_astray(error):
                raise error
            reply = self._inflight.popleft().reply
            if reply.done():
                continue
            if error is None:
                reply.set_result(answer)
            else:
                reply.set_exception(error)

    async def _watch(self, _: AbstractConnection) -> None:
        late: _Call | None = None
        while True:
            await asyncio.sleep(self._timeout_s / 5)
            if self._loop.time() - self._sent_at > IDLE_S:
                self.send("PING")  # a connection that a firewall dropped is found before use
            oldest = self._inflight[0] if self._inflight else None
            if oldest is None or self._loop.time() - oldest.sent_at <= self._timeout_s:
                late = None
            elif oldest is late:
                raise TimeoutError(f"no answer for {self._loop.time() - oldest.sent_at:.1f} s")
            else:
                late = oldest  # perhaps it was the loop that stood still: the answer may be here

    def _fail_all(self, calls: "deque[_Call] | list[_Call]") -> None:
        for call in calls:
            if not call.reply.done():
                call.reply.set_exception(RedisUnavailable("the connection to Redis broke"))
                call.reply.exception()  # marks it as seen: the caller may be gone


def _leads_astray(error: ResponseError) -> bool:
    """Whether the connection leads to the wrong server, or to one that forgot the scripts."""
    if isinstance(error, NoScriptError | ReadOnlyError | BusyLoadingError):
        return True
    return "READONLY" in str(error)  # out of a script, some versions put other words before it
