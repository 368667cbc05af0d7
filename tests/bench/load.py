"""A load generator that checks what it gets: each token of each stream once, and in order.

It asks over kept-alive connections, one request after the other on each. Run as a process it takes
a `Spec` as JSON, warms up, prints `ready`, waits for a line on its input, works, and prints a
`Tally.summary` as JSON.
"""

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import uvloop

from tests.bench.answers import Found, answer_to
from tests.bench.spec import Spec


@dataclass
class Tally:
    """What came. Times in seconds."""

    completed: int = 0
    ttft: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    tokens: int = 0
    by_tenth: Counter[int] = field(default_factory=Counter)  # tokens by tenths of monotonic time
    lost: int = 0
    doubled: int = 0  # or out of order
    errors: list[str] = field(default_factory=list)
    took: float = 0.0

    def summary(self) -> dict[str, Any]:
        return {
            "requests": self.completed,
            "requests_per_s": self.completed / self.took,
            "tokens": self.tokens,
            "tokens_per_s": self.tokens / self.took,
            "by_tenth": self.by_tenth,
            "lost": self.lost,
            "doubled": self.doubled,
            "errors": len(self.errors),
            "first_errors": self.errors[:3],
            "took_s": self.took,
            "ttft_p50_ms": 1000 * quantile(self.ttft, 0.5),
            "ttft_p99_ms": 1000 * quantile(self.ttft, 0.99),
            "delay_p50_ms": 1000 * quantile(self.delays, 0.5),
            "delay_p99_ms": 1000 * quantile(self.delays, 0.99),
        }


def quantile(values: list[float], q: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    return sorted(values)[min(int(q * len(values)), len(values) - 1)] if values else 0.0


class _Client(asyncio.Protocol):
    """One connection. `ask` sends a request and returns when its answer is complete or broken."""

    def __init__(self, spec: Spec, tally: Tally) -> None:
        self._spec = spec
        self._request = spec.request()
        self._expected = spec.tokens
        self.tally = tally
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self.lost = asyncio.Event()

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        if self._ended is not None:
            self._end(f"connection lost after {self._next} tokens")

    async def ask(self, timeout_s: float) -> None:
        assert self._transport is not None
        self._ended = ended = asyncio.get_running_loop().create_future()
        self._answer = answer_to(self._spec)
        self._next = 0
        self._last = b""
        self._sent = time.perf_counter()
        self._transport.write(self._request)
        try:
            async with asyncio.timeout(timeout_s):
                await ended
        except TimeoutError:
            self._end(f"nothing complete in {timeout_s:g} s, {self._next} tokens")
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}")
            self.close()

    def on_body(self, body: bytes) -> None:
        if self._ended is None:
            return
        self._last = body
        if found := self._answer.feed(body):
            self._count(found)

    def _count(self, found: Found) -> None:
        tally = self.tally
        if self._next == 0:
            tally.ttft.append(time.perf_counter() - self._sent)
        now = time.monotonic_ns()
        tally.by_tenth[now // 100_000_000] += len(found)
        for number, sent in found:
            i = int(number)
            if i < self._next:
                tally.doubled += 1
                continue
            tally.lost += i - self._next
            tally.tokens += 1
            self._next = i + 1
            if sent:
                tally.delays.append((now - int(sent, 16)) / 1e9)

    def on_message_complete(self) -> None:
        if self._ended is None:
            return
        status = self._parser.get_status_code()
        if status != 200:
            self._end(f"status {status}: {self._last[:300].decode(errors='replace')}")
            return
        found, fault = self._answer.end()
        if found:
            self._count(found)
        if fault:
            self._end(f"{fault}: {self._last[-300:].decode(errors='replace')}")
        else:
            self.tally.lost += self._expected - self._next
            self.tally.completed += 1
            self._end(None)

    def _end(self, error: str | None) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        if error is not None:
            self.tally.errors.append(error)
            self.tally.lost += self._expected - self._next
        if not ended.done():
            ended.set_result(None)


class Load:
    """The connections of one spec, kept between the warm-up and the measured part."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._clients: list[_Client | None] = [None] * spec.connections
        self._left = 0

    async def run(self, requests: int, ramp_s: float = 0.0) -> Tally:
        """Send so many requests over all connections; their tally."""
        tally = Tally()
        self._left = requests
        begun = time.perf_counter()
        pause_s = ramp_s / len(self._clients)
        async with asyncio.TaskGroup() as tasks:
            for slot in range(len(self._clients)):
                tasks.create_task(self._work(slot, slot * pause_s, tally))
        tally.took = time.perf_counter() - begun
        return tally

    async def close(self) -> None:
        """Cut all connections, and return when they are gone."""
        for client in self._clients:
            if client is not None:
                client.close()
                await client.lost.wait()

    async def _work(self, slot: int, pause_s: float, tally: Tally) -> None:
        if pause_s:
            await asyncio.sleep(pause_s)
        loop = asyncio.get_running_loop()
        while self._left > 0:
            self._left -= 1
            client = self._clients[slot]
            if client is None or not client.open:
                try:
                    _, client = await loop.create_connection(
                        lambda: _Client(self._spec, tally), "127.0.0.1", self._spec.port
                    )
                except OSError as error:
                    tally.errors.append(str(error))
                    continue
                self._clients[slot] = client
            client.tally = tally
            await client.ask(self._spec.timeout_s)


async def _main() -> None:
    spec = Spec(**json.loads(sys.argv[1]))
    load = Load(spec)
    await load.run(spec.warmup)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    tally = await load.run(spec.requests, spec.ramp_s)
    print(json.dumps(tally.summary()), flush=True)


if __name__ == "__main__":
    gc.disable()  # a pause of the observer would be counted as delay of the observed
    uvloop.run(_main())
