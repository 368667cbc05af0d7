"""A process's one subscription: reconnects by itself and proves itself alive by its own echo.

A pub/sub connection that died silently looks like one on which nothing happens, so every
`echo_s` the process publishes to itself; `2 × echo_s` without hearing that means: reconnect.
"""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.owned import end_owned, start_owned
from trunkline_shared.pipe import Pipe

logger = logging.getLogger("trunkline.redis")

_ECHO = b"echo"
_FIRST_BACKOFF_S = 0.1
_LAST_BACKOFF_S = 1.0


class Channel:
    """Listens to one channel. `on_message` gets each payload, `on_connected` every (re)connect.

    Both run on the event loop and must not raise or block. Messages of the time between two
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
        self._ready = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._closed = False

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
        while not self._closed:  # a cancellation gets lost where a task group fails just then
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()
                    await connection.send_command("SUBSCRIBE", self._name)
                    await connection.read_response()
                self._heard_at = asyncio.get_running_loop().time()
                backoff = _FIRST_BACKOFF_S
                self._ready.set()
                self._on_connected()
                await self._serve(connection)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("subscription lost: %s", error or type(error).__name__)
            finally:
                self._ready.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF_S)

    async def _serve(self, connection: AbstractConnection) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(connection), name=f"read:{self._name}")
                tasks.create_task(self._echo(), name=f"echo:{self._name}")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            kind, _, payload = await connection.read_response()
            if kind != b"message":
                continue
            if payload == _ECHO:
                self._heard_at = asyncio.get_running_loop().time()
            else:
                self._on_message(payload)

    async def _echo(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(self._echo_s):
                    await self._pipe.send("PUBLISH", self._name, _ECHO)
            except (RedisUnavailable, TimeoutError, RedisError):
                logger.debug("no echo could be sent")
            await asyncio.sleep(self._echo_s)
            if loop.time() - self._heard_at > 2 * self._echo_s and self._pipe.is_connected:
                raise TimeoutError("the subscription does not hear its own echo")
