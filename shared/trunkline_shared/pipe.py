"""One ordered connection to Redis on which nobody waits for anybody.

All commands of one loop tick leave in one write, replies are matched first-in first-out, inside
the read that brings them. redis-py's `Connection` connects (`redis_protocol.py`); what is left out
is the per-command cost of its client (a pool round, task switches and a lock per command).
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    RedisError,
)

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.redis_protocol import RedisProtocol, take_over
from trunkline_shared.scripts import Argument, ScriptName, Scripts

logger = logging.getLogger("trunkline.redis")

IDLE_S = 15.0
_FIRST_BACKOFF_S = 0.02
_LAST_BACKOFF_S = 1.0
_STEADY_S = 1.0  # a connection that was of use for so long begins with the first backoff again
_LOOKS = 5  # a time without an answer is counted in so many looks

Then: TypeAlias = Callable[[Any], None]
_Waiter: TypeAlias = "asyncio.Future[Any] | Then"


class Pipe:
    """Calls in order over one connection that is opened again whenever it breaks.

    A call whose reply is unknown when the connection breaks raises RedisUnavailable: it may or may
    not have run. `timeout_s` without an answer counts as broken. Commands made while there is no
    connection, or while it takes no more, wait for it, at most `max_waiting` of them; then
    RedisUnavailable at once.
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
        self._out: list[tuple[bytes, _Waiter]] = []  # packed, and not yet written
        self._inflight: deque[_Waiter] = deque()
        self._protocol: RedisProtocol | None = None
        self._connected = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._closed = False
        self._sent = 0  # commands written, over all connections
        self._sent_at = 0.0
        self.generation = 0  # counts connections; a change means that replies may have been lost

    async def start(self) -> None:
        """Begins to connect. Does not wait: `connected` does."""
        self._owner = start_owned(self._run(), f"pipe:{self._name}")

    async def aclose(self) -> None:
        """What waits fails, and so does whatever is asked from now on."""
        self._closed = True
        await end_owned(self._owner)
        out, self._out = self._out, []
        for _, waiter in out:
            _fail(waiter, "the connection is closed")

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    async def connected(self) -> None:
        await self._connected.wait()

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Queues one command; it leaves with all others of this loop tick."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._queue(command, reply)
        return reply

    def call(self, script: ScriptName, *arguments: Argument) -> asyncio.Future[Any]:
        """Queues the call of one script."""
        return self.send(*self._scripts.call(script, *arguments))

    def send_then(self, then: Then, *command: Argument) -> None:
        """`send` for the hot path: no future, and no loop tick between a reply and its reader.

        `then` gets the reply, or the error as a value: a ResponseError or RedisUnavailable. It
        runs inside the read, never before this returns, and must neither raise nor block; it may
        send. A connection that breaks fails what has not left yet too: who hears of it says what
        comes first on the next one.
        """
        self._queue(command, then)

    def call_then(self, then: Then, script: ScriptName, *arguments: Argument) -> None:
        """`call` in the same way."""
        self._queue(self._scripts.call(script, *arguments), then)

    def flush(self) -> None:
        """Writes what was asked for so far, without the rest of the loop tick."""
        protocol = self._protocol
        if protocol is None or not protocol.writable:
            return  # whoever changes that flushes
        packed = []
        for command, waiter in self._out:
            if isinstance(waiter, asyncio.Future) and waiter.done():
                continue  # its caller has left
            packed.append(command)
            self._inflight.append(waiter)
        self._out.clear()
        if packed:
            self._sent += len(packed)
            self._sent_at = self._loop.time()
            protocol.write(b"".join(packed))

    def _queue(self, command: tuple[Argument, ...], waiter: _Waiter) -> None:
        if self._closed or len(self._out) >= self._max_waiting:
            why = "the connection is closed" if self._closed else "too many commands wait for Redis"
            if isinstance(waiter, asyncio.Future):
                _fail(waiter, why)
            else:
                self._loop.call_soon(_fail, waiter, why)  # not before `send_then` has returned
            return
        # redis-py's own packer is Python, and costs more than the rest of the call.
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]
        if not self._out:  # else a flush is due already, or waits for the connection
            self._loop.call_soon(self.flush)
        self._out.append((packed, waiter))

    def _take(self, reply: Any) -> None:
        """One reply, for the oldest command without one."""
        if isinstance(reply, RedisError):
            if _leads_astray(reply):
                raise reply
        elif isinstance(reply, hiredis.PushNotification):
            return  # RESP3: it belongs to no command
        if not self._inflight:
            raise InvalidResponse("Redis answers what was not asked")
        waiter = self._inflight.popleft()
        if not isinstance(waiter, asyncio.Future):
            waiter(reply)
        elif waiter.done():
            return
        elif isinstance(reply, RedisError):
            waiter.set_exception(reply)
        else:
            waiter.set_result(reply)

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while not self._closed:  # redis-py's `connect` can swallow a cancellation
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            opened_at = math.inf
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()
                    await self._load_scripts(connection)
                    self._protocol = await take_over(connection, self._take, self.flush)
                self.generation += 1
                opened_at = self._loop.time()
                self._connected.set()
                self.flush()
                await self._watch(self._protocol)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("redis connection %s lost: %s", self._name, error or type(error))
            finally:
                self._protocol = None
                self._connected.clear()
                self._fail_with_connection()
                await connection.disconnect(nowait=True)
            if self._loop.time() - opened_at > _STEADY_S:
                backoff = _FIRST_BACKOFF_S
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF_S)

    def _fail_with_connection(self) -> None:
        out, self._out = self._out, []
        lost, self._inflight = self._inflight, deque()
        for command, waiter in out:
            if isinstance(waiter, asyncio.Future):
                self._out.append((command, waiter))
            else:
                lost.append(waiter)
        for waiter in lost:
            _fail(waiter, "the connection to Redis broke")

    async def _load_scripts(self, connection: AbstractConnection) -> None:
        # Only what is missing: Redis 6.2 writes every load into its append-only file.
        await connection.send_command("SCRIPT", "EXISTS", *self._scripts.shas.values())
        known = await connection.read_response()
        for name, is_known in zip(self._scripts.shas, known, strict=True):
            if not is_known:
                await connection.send_command("SCRIPT", "LOAD", self._scripts.texts[name])
                await connection.read_response()

    async def _watch(self, protocol: RedisProtocol) -> None:
        """Raises what ends the connection, a silence of `timeout_s` included."""
        answered, silent_looks = -1, 0
        while not protocol.lost.done():
            await asyncio.wait([protocol.lost], timeout=self._timeout_s / _LOOKS)
            if self._loop.time() - self._sent_at > IDLE_S:
                self.send_then(_ignore, "PING")  # finds what a firewall dropped, before use
            before, answered = answered, self._sent - len(self._inflight)
            if not self._inflight:
                answered = -1
            # Looks are counted, not seconds: in one that came late the loop itself stood still.
            silent_looks = silent_looks + 1 if answered == before >= 0 else 0
            if silent_looks == _LOOKS:
                protocol.end(TimeoutError(f"no answer for {self._timeout_s} s"))
        protocol.lost.result()


def _fail(waiter: _Waiter, why: str) -> None:
    error = RedisUnavailable(why)
    if not isinstance(waiter, asyncio.Future):
        waiter(error)
    elif not waiter.done():
        waiter.set_exception(error)
        waiter.exception()  # marks it as seen: the caller may be gone


def _ignore(_: object) -> None:
    """For replies that nobody waits for."""


def _leads_astray(error: RedisError) -> bool:
    """Whether the connection leads to the wrong server, or to one that forgot the scripts."""
    if isinstance(error, NoScriptError | ReadOnlyError | ConnectionError):
        return True  # among the last: it loads its data, it wants a password
    return "READONLY" in str(error)  # out of a script, some versions put other words before it
