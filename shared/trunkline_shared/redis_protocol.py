"""Replies of Redis straight from the transport, once redis-py has made the connection.

redis-py does what has to do with connecting: TLS, ACL, SELECT, unix sockets, Sentinel, RESP's
version. What it does for every command and reply after that costs more than Redis itself (streams,
`wait_for`, four nested coroutines: 10 to 20 µs each way), so then its transport is taken over.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisError


class RedisProtocol(asyncio.Protocol):
    """Hands every reply, errors too, to `on_reply`, in order and inside the read.

    `lost` gets the error that ended the connection: the transport's, or what `on_reply` raised.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        on_reply: Callable[[Any], None],
        on_writable: Callable[[], None],
    ) -> None:
        # redis-py has no public way to its transport, nor to its parser's hiredis reader: that one
        # may hold bytes already, and makes redis-py's exceptions of errors.
        self._transport: Any = connection._writer.transport  # type: ignore[union-attr]
        self._reader: hiredis.Reader = connection._parser._reader  # type: ignore[attr-defined]
        self._on_reply = on_reply
        self._on_writable = on_writable
        self.write: Callable[[bytes], None] = self._transport.write
        self.writable = True  # false while the transport is full, and from the end on
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, error: Exception) -> None:
        """Drops the connection at once, with what is not yet on its way."""
        self.writable = False
        if not self.lost.done():
            self.lost.set_exception(error)
            self.lost.exception()  # marks it as seen: the owner may be gone
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return  # TLS hands over what comes during its goodbye
        self._reader.feed(data)
        gets, on_reply = self._reader.gets, self._on_reply
        try:
            while (reply := gets()) is not NOT_ENOUGH_DATA:
                on_reply(reply)
        except RedisError as error:
            self.end(error)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = not self.lost.done()
        self._on_writable()

    def connection_lost(self, error: Exception | None) -> None:
        self.end(error or ConnectionError("Redis closed the connection"))


async def take_over(
    connection: AbstractConnection,
    on_reply: Callable[[Any], None],
    on_writable: Callable[[], None] = lambda: None,
) -> RedisProtocol:
    """From here on the connection is only there to be disconnected, with `nowait`.

    Every reply to what was sent over it must have been read. Raises ConnectionError or OSError if
    it has broken since.
    """
    stream = connection._reader  # private to redis-py; may hold what came with the last reply
    if stream is None or stream.at_eof():
        raise ConnectionError("Redis closed the connection")
    protocol = RedisProtocol(connection, on_reply, on_writable)
    connection._writer.transport.set_protocol(protocol)  # type: ignore[union-attr]
    stream.feed_eof()  # nothing comes there any more, so that `read` does not wait
    protocol.data_received(await stream.read())
    return protocol
