"""One HTTP/1.1 connection to a model provider. It pushes: what a read brings is handed on at once.

Every token of every run passes `data_received`: no task is woken for it and no future made.
"""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol, cast

import httptools

from trunkline_shared.deadline import Deadline

_KEEPALIVE_S: Final = 30.0  # shorter than what providers keep an idle connection for
_END_WAIT_S: Final = 0.2  # for the end of a body of which the caller has all that it wants
_BARE_BYTES: Final = 64 * 1024  # of heads, trailers and the like, with no body between them
_INFLATED_BYTES: Final = 32 * 1024 * 1024  # of one read


class CallError(Exception):
    """A call that got no whole answer; `cause` is for the operator's log.

    CallError
    ├── Unreachable        no connection; the call was not heard
    │   └── ConnectTimeout
    ├── Silent             nothing came for too long
    ├── Cut                the connection was closed before the answer's end
    └── NotHttp            what came is no answer that HTTP allows
    """

    def __init__(self, cause: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause or type(self).__name__


class Unreachable(CallError): ...


class ConnectTimeout(Unreachable): ...


class Silent(CallError): ...


class Cut(CallError): ...


class NotHttp(CallError): ...


class Caller(Protocol):
    """Hears one answer, from within the transport's callbacks. `headers` have lower-case names."""

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Comes first."""

    def body(self, data: bytes, whole: bool) -> None:
        """All that one read brought; `whole`: nothing follows."""

    def failed(self, error: CallError) -> None:
        """Nothing follows."""


class Origin(NamedTuple):
    """Where connections lead to."""

    host: str
    port: int
    tls: bool


class Home(Protocol):
    """Who keeps connections."""

    def made(self, connection: "Connection") -> None: ...

    def idle(self, connection: "Connection") -> None:
        """It can take the next call."""

    def lost(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    """Takes one call at a time; between calls it is its home's.

    `patience_s` may be changed during a call: how long nothing may come from the next read on.
    `heard`: something came since the call was made.
    """

    __slots__ = (
        "_bare",
        "_busy",
        "_caller",
        "_fields",
        "_headers",
        "_home",
        "_inflate",
        "_parser",
        "_pieces",
        "_reusable",
        "_status",
        "_timer",
        "_transport",
        "_whole",
        "heard",
        "on_body",
        "on_header",
        "origin",
        "patience_s",
    )

    def __init__(self, origin: Origin, home: Home) -> None:
        self.origin = origin
        self.heard = False
        self.patience_s = 0.0
        self._home = home
        self._caller: Caller | None = None
        self._busy = False
        self._timer = Deadline(self._overdue)
        self._pieces: list[bytes] = []
        self._fields: dict[bytes, bytes] = {}
        self._headers: dict[bytes, bytes] | None = None  # known when they are handed on
        self._status = 0  # none yet
        self._whole = False
        self._reusable = False
        self._inflate: _Inflate | None = None
        self._bare = 0  # bytes since the last ones of a body
        # Straight into their places: a chunk costs no call of Python's.
        self.on_body = self._pieces.append
        self.on_header = self._fields.__setitem__
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )

    def call(self, caller: Caller, request: bytes, patience_s: float) -> None:
        self._caller = caller
        self._busy = True
        self.heard = False
        self.patience_s = patience_s
        self._timer.set(patience_s)
        self._transport.write(request)

    def settle(self) -> None:
        """The caller has all it wants; if the answer ends in a moment, the connection is kept."""
        self._caller = None
        self._timer.set(_END_WAIT_S)

    def leave(self, caller: Caller) -> None:
        """Aborts, unless the caller's answer is over: the connection may be another's by now."""
        if self._caller is caller:
            self.abort()

    def abort(self) -> None:
        """Closes the socket at once; nobody hears of it."""
        self._caller = None
        self._transport.abort()

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type
        self._home.made(self)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._transport.abort()  # nothing was asked
            return
        self.heard = True
        error: CallError | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            error = NotHttp()
        if self._pieces:
            self._bare = 0
        else:
            self._bare += len(data)
            if self._bare > _BARE_BYTES:
                error = NotHttp("head too long")
        unreadable = None if self._caller is None else self._hand_on(self._caller)
        self._pieces.clear()
        if self._whole and unreadable is None:  # what came after its end is not the caller's
            self._end(reusable=self._reusable and error is None)
        elif failure := unreadable or error:
            self._fail(failure)
        elif self._caller is not None:  # who settled waits for no longer, whatever comes
            self._timer.set(self.patience_s)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.close()
        self._home.lost(self)
        del self._parser  # it and we hold each other
        caller, self._caller = self._caller, None
        if caller is None:
            return
        if error is None and self._headers is not None and _until_close(self._headers):
            caller.body(b"", True)
        else:
            caller.failed(Cut(getattr(error, "strerror", None)))

    def on_message_begin(self) -> None:
        if self._whole:
            raise httptools.HttpParserError("more than was asked for")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._fields.clear()  # the answer is still to come
        else:
            self._status = status

    def on_message_complete(self) -> None:
        if self._status and not self._whole:
            self._whole = True
            self._reusable = self._parser.should_keep_alive()

    def _hand_on(self, caller: Caller) -> CallError | None:
        if self._headers is None:
            if not self._status:
                return None
            self._headers = {name.lower(): value for name, value in self._fields.items()}
            encoding = self._headers.get(b"content-encoding", b"identity").lower()
            if encoding in _ENCODINGS:
                self._inflate = _Inflate()
            elif encoding not in (b"identity", b""):
                return NotHttp("unknown encoding")
            caller.head(self._status, self._headers)
        pieces = self._pieces
        if self._caller is not caller or not (pieces or self._whole):
            return None
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._inflate is not None:
            try:
                data = self._inflate(data)
            except zlib.error:
                return NotHttp("bad encoding")
        caller.body(data, self._whole)
        return None

    def _end(self, *, reusable: bool) -> None:
        self._caller = self._headers = self._inflate = None
        self._busy = self._whole = False
        self._status = self._bare = 0
        self._fields.clear()
        # What the provider did not read of the request would be read as the next one.
        if reusable and self.usable and not self._transport.get_write_buffer_size():
            self._timer.set(_KEEPALIVE_S)
            self._home.idle(self)
        else:
            self._transport.close()

    def _fail(self, error: CallError) -> None:
        caller = self._caller
        self.abort()
        if caller is not None:
            caller.failed(error)

    def _overdue(self) -> None:
        self._fail(Silent())


def _until_close(headers: Mapping[bytes, bytes]) -> bool:
    return b"content-length" not in headers and b"transfer-encoding" not in headers


_ENCODINGS: Final = frozenset({b"gzip", b"x-gzip", b"deflate"})


class _Inflate:
    """For providers that compress whatever they are asked. Raises zlib.error."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None

    def __call__(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._stream is None:
            # By the standard deflate is zlib's form, which begins so, as gzip does with 0x1f.
            raw = data[0] != 0x1F and data[0] & 0x0F != 8
            self._stream = zlib.decompressobj(-15 if raw else 47)
        found = self._stream.decompress(data, _INFLATED_BYTES)
        if self._stream.unconsumed_tail:
            raise zlib.error("too much")
        return found
