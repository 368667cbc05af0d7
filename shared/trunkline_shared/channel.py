"""A process's one subscription: reconnects by itself and proves itself alive by its own echo.

A pub/sub connection that died silently looks like one on which nothing happens, so every
`echo_s` the process publishes to itself; `2 × echo_s` without hearing that means: reconnect.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe
from trunkline_shared.redis_protocol import RedisProtocol, take_over

logger = logging.getLogger("trunkline.redis")

_ECHO = b"echo"
_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 1.0


class Channel:
    """Listens to one channel. `on_message` gets each payload, `on_connected` every (re)connect.

    Both run inside the read and must not raise or block. Messages of the time between two
    connections are lost: what must not be lost is read elsewhere after `on_connected`.
    """

    def __init__(
        self,
        client: Redis,
        pipe: Pipe,
        name: str,
        *,
        timeout_s: float,
        on_message: Callable[[bytes], None],
        on_connected: Callable[[], None],
        echo_s: float = 2.0,
    ) -> None:
        self._client = client
        self._pipe = pipe
        self._name = name
        self._timeout_s = timeout_s
        self._on_message = on_message
        self._on_connected = on_connected
        self._echo_s = echo_s
        self._heard_at = 0.0
        self._confirmed: asyncio.Future[None]
        self._ready = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def is_ready(self) -> bool:
        """Whether Redis has confirmed the subscription of the connection in use."""
        return self._ready.is_set()

    async def ready(self) -> None:
        await self._ready.wait()

    async def start(self) -> None:
        self._owner = start_owned(self._run(), f"channel:{self._name}")

    async def aclose(self) -> None:
        self._closed = True
        await end_owned(self._owner)

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF_S
        while not self._closed:  # redis-py's `connect` can swallow a cancellation
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()
                    protocol = await take_over(connection, self._take)
                    await self._subscribe(protocol)
                backoff = _FIRST_BACKOFF_S
                await self._watch(protocol)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("subscription lost: %s", error or type(error).__name__)
            finally:
                self._ready.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF_S)

    async def _subscribe(self, protocol: RedisProtocol) -> None:
        self._confirmed = self._loop.create_future()
        protocol.write(hiredis.pack_command(("SUBSCRIBE", self._name)))  # type: ignore[arg-type]
        either = [self._confirmed, protocol.lost]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if protocol.lost.done():
            protocol.lost.result()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, RedisError):
            raise reply
        kind, _, payload = reply
        if kind == b"message":
            if payload == _ECHO:
                self._heard_at = self._loop.time()
            else:
                self._on_message(payload)
        elif kind == b"subscribe":
            self._heard_at = self._loop.time()
            self._ready.set()
            self._on_connected()
            self._confirmed.set_result(None)

    async def _watch(self, protocol: RedisProtocol) -> None:
        """Raises what ends the subscription, its silence included."""
        while not protocol.lost.done():
            asked = self._pipe.is_connected
            if asked:
                self._pipe.send_then(_log_refusal, "PUBLISH", self._name, _ECHO)
            await asyncio.wait([protocol.lost], timeout=self._echo_s)
            silence_s = self._loop.time() - self._heard_at
            if asked and self._pipe.is_connected and silence_s > 2 * self._echo_s:
                protocol.end(TimeoutError("the subscription does not hear its own echo"))
        protocol.lost.result()


def _log_refusal(answer: object) -> None:
    if isinstance(answer, Exception):
        logger.debug("no echo could be sent: %s", answer)
