"""Plays a scripted reply on a connection, by timers on an absolute schedule."""

import asyncio
from collections.abc import Callable

from tests.fakes.upstream_wire import CUT, HANG, Reply

_REASONS = {200: "OK", 400: "Bad Request", 429: "Too Many Requests", 500: "Internal Server Error"}


class Player:
    """Writes what lies between two pauses at once. `ended` is called when the reply is whole."""

    def __init__(
        self, transport: asyncio.Transport, reply: Reply, ended: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._reply = reply
        self._ended = ended
        self._steps = iter(reply.steps)
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._head_sent = False

    def play(self) -> None:
        waiting: list[bytes] = []
        for step in self._steps:
            if isinstance(step, bytes):
                waiting.append(step)
                continue
            self._write(waiting)
            if step is CUT:
                self._transport.close()  # abort() would lose what is still buffered
            elif step is not HANG:
                assert isinstance(step, float)
                self._due += step
                self._timer = self._loop.call_at(self._due, self.play)
            return
        self._write(waiting)
        if self._reply.chunked:
            self._transport.write(b"0\r\n\r\n")
        self._ended()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _write(self, pieces: list[bytes]) -> None:
        data = b"".join(pieces)
        pieces.clear()
        if self._reply.silent or not (data or self._reply.chunked):
            return
        parts = []
        if not self._head_sent:
            self._head_sent = True
            parts.append(self._head(len(data)))
        if self._reply.chunked and data:
            parts.append(b"%x\r\n%b\r\n" % (len(data), data))
        elif not self._reply.chunked:
            parts.append(data)
        self._transport.write(b"".join(parts))

    def _head(self, length: int) -> bytes:
        reply = self._reply
        headers = {"content-type": reply.content_type, "x-request-id": "req_fake", **reply.headers}
        if reply.chunked:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(length)
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
