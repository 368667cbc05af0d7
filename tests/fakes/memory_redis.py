"""fakeredis at the other end of a transport, for what takes a connection over from redis-py."""

import asyncio
from typing import Any

from fakeredis import FakeAsyncRedis
from fakeredis._clients._tcp_server import encode_reply  # RESP, as its own TCP server writes it
from fakeredis.aioredis import FakeAsyncRedisConnection, FakeReader


class MemoryRedis(FakeAsyncRedis):  # type: ignore[misc]  # fakeredis' types are not looked at
    """An empty Redis in this process, in RESP2. `writes` counts what came over transports."""

    def __init__(self) -> None:
        super().__init__(connection_class=_Connection)
        self.connection_pool.connection_kwargs["redis"] = self
        self.writes = 0


class _Connection(FakeAsyncRedisConnection):  # type: ignore[misc]  # the same
    def __init__(self, *, redis: MemoryRedis, **options: Any) -> None:
        super().__init__(**options)
        self._redis = redis

    async def _connect(self) -> None:
        await super()._connect()
        self._reader = _Reader(self._sock)
        self._writer.transport = _Transport(self._redis, self._sock)

    async def disconnect(self, nowait: bool = False, **more: Any) -> None:
        if self._writer is not None:
            self._writer.transport.close()
        await super().disconnect(nowait, **more)


class _Reader(FakeReader):  # type: ignore[misc]  # the same
    _ended = False

    def feed_eof(self) -> None:
        self._ended = True

    async def read(self, size: int = -1) -> Any:
        return b"" if self._ended else await super().read(size)


class _Transport(asyncio.Transport):
    def __init__(self, redis: MemoryRedis, socket: Any) -> None:
        super().__init__()
        self._redis = redis
        self._socket = socket
        self._protocol: asyncio.Protocol
        self._closing = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol
        self._socket.responses = self  # instead of the queue of its replies

    def put_nowait(self, reply: Any) -> None:
        data = encode_reply(reply, 2)
        asyncio.get_running_loop().call_soon(self._protocol.data_received, data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._redis.writes += 1
        self._socket.sendall(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._socket.close()

    def abort(self) -> None:
        self.close()
