"""One answer of the model on its way to the command line: what arrives is passed on at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from trunkline_worker.backends.http_connection import CallError
from trunkline_worker.backends.upstream_errors import (
    CUT,
    GARBAGE,
    Fault,
    of_error,
    of_exception,
    of_status,
)
from trunkline_worker.claude_code.visitor import Visitor

_ERROR_BYTES: Final = 64 * 1024


class Answer:
    """`done`: None, or why there is no whole answer. `begun`: something was passed on; `broken`:
    the connection it came over is of no more use."""

    def __init__(self, visitor: Visitor, secrets: Sequence[str]) -> None:
        self.done: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
        self.begun = False
        self.broken = False
        self._visitor = visitor
        self._secrets = secrets
        self._refused: bytearray | None = None
        self._stream: _Stream | None = None
        self._status = 0
        self._headers: Mapping[bytes, bytes] = {}

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        self._status, self._headers = status, headers
        kind = headers.get(b"content-type", b"").decode("latin-1")
        if status >= 300:
            self._refused = bytearray()
        elif "event-stream" in kind or "json" in kind:
            self._stream = _Stream() if "event-stream" in kind else None
            self.begun = True
            self._visitor.begin(status, kind)
        else:
            self._end(GARBAGE)

    def body(self, data: bytes, whole: bool) -> None:
        if self.done.done():
            return
        if self._refused is not None:
            self._refused += data
            if whole or len(self._refused) >= _ERROR_BYTES:
                self._end(self._fault_of(bytes(self._refused)))
            return
        if self._stream is not None:
            self._stream.feed(data)
            if self._stream.error is not None:
                self._visitor.say(data.partition(b"event: error")[0])
                self._end(of_error(self._stream.error, self._secrets))
                return
        self._visitor.say(data)
        if whole and self._stream is not None and not self._stream.complete:
            self._end(CUT)
        elif whole:
            self._visitor.end()
            self.done.set_result(None)

    def failed(self, error: CallError) -> None:
        self._end(of_exception(error))

    def _end(self, fault: Fault) -> None:
        self.broken = True
        if not self.done.done():
            self.done.set_result(fault)

    def _fault_of(self, body: bytes) -> Fault:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in self._headers.items()}
        return of_status(self._status, headers, body, self._secrets)


class _Stream:
    """Looks for what ends a stream. Text has no line breaks of its own there: it is JSON."""

    def __init__(self) -> None:
        self.complete = False
        self.error: Any = None
        self._line = b""
        self._in_error = False

    def feed(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line.startswith(b"event:"):
                name = line[6:].strip()
                self._in_error = name == b"error"
                self.complete |= name == b"message_stop"
            elif self._in_error and line.startswith(b"data:"):
                self.error = _error_of(line[5:])


def _error_of(data: bytes) -> Any:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value.get("error", {}) if isinstance(value, dict) else {}
