"""A fake OpenAI server on loopback, scripted by the model's name.

    async with FakeUpstream() as upstream:
        upstream.base_url       # http://127.0.0.1:PORT/v1
        upstream.requests       # every chat request: model, body, headers, when
        upstream.closed         # replies whose peer closed before the end: model, when

or as a process of its own: `python -m tests.fakes.upstream --port 0` prints `PORT`, and serves
`GET /_requests`, `GET /_closed`, `GET /_open` (replies in progress) and `POST /_reset`.
Times are `time.monotonic()`, which on Linux all processes of a machine share.

Models (N, R, K numbers); all answer streamed or whole, as asked, and honour `max_tokens` and
`max_completion_tokens` unless said otherwise. Words are `w0 w1 w2 ...`: see `words(n)`.

    words-N          N words in one write
    slow-NxR         N words, R a second
    greedy-N         N words, whatever max_tokens says
    split-N          N words, byte by byte, CRLF, with comments
    eager            role, text and finish reason in the very first chunk
    reasoning        reasoning, then an answer; usage with cached and reasoning tokens
    refusal          a refusal
    tools            calls the first (or the named) tool; after a tool's result: repeats that
    tools-parallel   calls every tool
    tools-odd        calls every tool, without index and id, each in one chunk
    json             the least object that fits the json_schema; `{}` for json_object
    plan             what the prompt says: see `upstream_plan.py`
    able             fits the json_schema, or has the 'quoted' keys; calls a tool if it must, or if
                     a word of the user's is the last of its name; after a result: repeats that
    echo-request     the request body as text
    length, filter   three words, finish reason `length`, `content_filter`
    no-usage         three words, usage never sent
    joint-usage      three words, usage in the chunk of the finish reason
    whole            three words as plain JSON even when asked to stream
    context-length   400 context_length_exceeded
    context-N        N words, or the same for more than N messages
    no-quota         429 insufficient_quota
    status-S         status S (429 with `retry-after: 30`, 401 quoting the key)
    flaky-K, busy-K  the first K calls 500, or 429 with `retry-after-ms: 20`; then `words-3`
    cut-N            N words, then the socket is closed
    silence-N        N words, then nothing, the socket stays open
    hang             not even a status line
    unfinished-N     N words, then the body ends without finish reason and [DONE]
    no-done-N        N words and the finish reason, then the body ends without [DONE]
    open-end         three words and the finish reason, then nothing, the socket stays open
    garbage          two words, then a line that is no JSON
    html             status 200 with a page of HTML
    error-chunk      two words, then an error object in the stream
    error-first      an error object as the first chunk
"""

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, cast

from tests.fakes.upstream_player import Player
from tests.fakes.upstream_scripts import reply_to, words
from tests.fakes.upstream_wire import Json, Reply

__all__ = ["FakeUpstream", "words"]


@dataclass(frozen=True)
class Seen:
    """One chat request."""

    model: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float


@dataclass(frozen=True)
class Closed:
    """A reply that the peer closed before its end."""

    model: str
    at: float


@dataclass
class FakeUpstream:
    asked_at: ClassVar = "/chat/completions"

    port: int = 0
    requests: list[Seen] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    connections: int = 0
    """Connections accepted so far."""
    alias: str = ""
    """How every model answers, whatever it is called."""

    def __post_init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.open: dict[_Connection, str] = {}
        self._transports: set[asyncio.Transport] = set()
        self._changed = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "FakeUpstream":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.drop_connections()
        await self._server.wait_closed()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        """Returns once `condition()` holds; it is looked at whenever something was recorded."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def reset(self) -> None:
        """Forgets requests, closes and the counts of `flaky` and `busy`."""
        self.requests.clear()
        self.closed.clear()
        self.calls.clear()

    def drop_connections(self) -> None:
        """Aborts every connection, idle ones included."""
        for transport in list(self._transports):
            transport.abort()

    def note(self) -> None:
        self._changed.set()

    def connected(self, transport: asyncio.Transport) -> None:
        self._transports.add(transport)
        self.connections += 1
        self.note()

    def disconnected(self, transport: asyncio.Transport) -> None:
        self._transports.discard(transport)
        self.note()

    def answer(
        self, connection: "_Connection", path: str, headers: dict[str, str], raw: bytes
    ) -> Reply:
        if path.endswith(self.asked_at):
            body = json.loads(raw)
            model = str(body.get("model"))
            self.requests.append(Seen(model, body, headers, time.monotonic()))
            self.calls[model] += 1
            self.open[connection] = model
            self.note()
            known_as = {**body, "model": self.alias or model}
            return self.reply(known_as, headers, self.calls[model])
        return self.other(path, raw)

    def reply(self, body: Json, headers: dict[str, str], call: int) -> Reply:
        return reply_to(body, headers, call)

    def other(self, path: str, raw: bytes) -> Reply:
        """What is asked besides answers."""
        return Reply.of_json(self._admin(path))

    def _admin(self, path: str) -> Any:
        match path:
            case "/_requests":
                return [asdict(seen) for seen in self.requests]
            case "/_closed":
                return [asdict(closed) for closed in self.closed]
            case "/_open":
                return list(self.open.values())
            case "/_reset":
                self.reset()
        return {"object": "list", "data": []}

    def ended(self, connection: "_Connection") -> None:
        self.open.pop(connection, None)
        self.note()

    def lost(self, connection: "_Connection") -> None:
        model = self.open.pop(connection, None)
        if model is not None:
            self.closed.append(Closed(model, time.monotonic()))
        self.note()


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, for requests that carry a content-length."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self._upstream = upstream
        self._received = b""
        self._player: Player | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type
        self._upstream.connected(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._player is not None:
            self._player.stop()
        self._upstream.lost(self)
        self._upstream.disconnected(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._serve()

    def _serve(self) -> None:
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if self._player is not None or not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._received = rest[length:]
        path = first.split(" ")[1].partition("?")[0]
        reply = self._upstream.answer(self, path, headers, rest[:length])
        self._player = Player(self._transport, reply, self._ended)
        self._player.play()

    def _ended(self) -> None:
        self._player = None
        self._upstream.ended(self)
        self._serve()


async def main(kind: type[FakeUpstream]) -> None:
    """Serves on the command line's `--port`, whose number is printed, until it is told to end."""
    parser = argparse.ArgumentParser(description="A fake provider on loopback.")
    parser.add_argument("--port", type=int, default=0)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with kind(parser.parse_args().port) as upstream:
        print(upstream.port, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(FakeUpstream))
