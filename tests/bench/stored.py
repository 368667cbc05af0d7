"""`python -m tests.bench.stored`: what stored runs take in Redis, and how long it takes to list,
find and follow them, with few and with many.

All is stored by the scripts, as in life, and read from an API process over HTTP, with one request
after another. --quick fills less.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from tests.bench.machine import machine
from tests.bench.process import module, process
from tests.contract.script_bed import PREFIX, Bed
from tests.fakes.redis_server import RedisServer
from trunkline_api.lookup import Lookup
from trunkline_api.render.completion import completion_id
from trunkline_api.render.response import response_id
from trunkline_api.responses_echo import echo
from trunkline_api.stored_completions import StoredCompletions
from trunkline_api.stored_responses import ANCESTORS, StoredResponses
from trunkline_api.stored_runs import Record
from trunkline_api.wire.responses import parse_responses
from trunkline_shared.events import Finished, TextDelta
from trunkline_shared.fold import Fold, encode
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import new_run_id
from trunkline_shared.transcript import Item
from trunkline_shared.vault import Vault

TOKENS = 500
PAIR = {"team": "t3"}
SECRET = "a secret key of the bench"
PORT = 18_431
ASKED: list[Item] = [
    {"type": "message", "role": "user", "content": [{"type": "text", "text": "Tell me more."}]}
]
_PAGES = Path(__file__).parents[2] / "docs"


class Filler:
    """Stores whole runs of `anonymous`, whose answers are of `TOKENS` tokens of English."""

    def __init__(self, redis: Redis, secret_key: str | None, pipe: Pipe) -> None:
        self.bed = Bed(redis)
        self.vault = Vault(secret_key)
        lookup, keys = Lookup(pipe, patience_s=10), self.bed.keys
        self.responses = StoredResponses(lookup, keys, self.vault, max_bytes=1 << 28)
        self.completions = StoredCompletions(
            lookup, keys, self.vault, max_bytes=1 << 25, retention_s=3600
        )
        text = " ".join(page.read_text() for page in sorted(_PAGES.glob("*.md")))
        self._words = [word for word in text.split() if word.isalpha()]
        self._random = random.Random(1)

    async def completion(self, model: str, metadata: dict[str, str]) -> str:
        messages = [{"role": "user", "content": "Tell me more."}]
        record = Record(
            "anonymous", model, {"metadata": metadata}, kind="completion", messages=messages
        )
        return await self._store(
            record=await self.completions.seal(record), lists=self.completions.lists(record)
        )

    async def response(self, ancestors: Sequence[str] = ()) -> str:
        previous = response_id(ancestors[0]) if ancestors else None
        body = b'{"model": "agent", "input": "Tell me more."}'
        said = {**echo(parse_responses(body)), "previous_response_id": previous}
        record = Record(
            "anonymous", "agent", said, ASKED, previous, ancestors=[*ancestors[:ANCESTORS]]
        )
        return await self._store(record=await self.responses.seal(record))

    async def _store(self, **what: Any) -> str:
        # Words are 1.3 tokens each, as most models count.
        text = " ".join(self._random.choices(self._words, k=int(TOKENS / 1.3)))
        fold, events = Fold(), (TextDelta(text), Finished("stop", at_ms=int(time.time() * 1000)))
        fold.add(1, events)
        result = self.vault.pack(encode(fold.result()))
        await self.bed.renew(mode="recover")
        run_id = await self.bed.submit(new_run_id(), principal="anonymous", **what)
        (run,) = await self.bed.claim()
        assert await self.bed.finish(run, 3, *events, result=result) == "ok"
        return run_id

    async def memory(self, run_id: str) -> dict[str, int]:
        """What Redis says that the values of one run take, in bytes."""
        keys = {"record": self.bed.keys.record(run_id), "result": self.bed.keys.result(run_id)}
        return {name: await self.bed.redis.memory_usage(key) for name, key in keys.items()}


async def _sizes(filler: Filler, index: str, store: Callable[[], Awaitable[str]]) -> str:
    """One of many: its values, and its share of the longest list."""
    runs = [await store() for _ in range(300)]
    values = await filler.memory(runs[-1])
    listed = await filler.bed.redis.memory_usage(index, samples=0)
    share = listed / await filler.bed.redis.zcard(index)
    parts = ", ".join(f"{name} {size}" for name, size in values.items())
    return f"{sum(values.values()) + share:.0f} bytes ({parts}, a list {share:.0f})"


async def _timed(count: int, ask: Callable[[], Awaitable[Any]]) -> str:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return f"p50 {took[count // 2]:.1f} ms, p99 {took[int(count * 0.99)]:.1f} ms"


async def _reads(http: httpx.AsyncClient, count: int, runs: Sequence[str], about: str) -> None:
    list_path = "/v1/chat/completions"
    middle = completion_id(runs[len(runs) // 2])
    queries = {
        "the first 20": {},
        "20 from the middle": {"after": middle},
        "the last 100": {"order": "desc", "limit": "100"},
        "20 of a model": {"model": "rare", "after": middle},
        "20 of a pair": {"metadata[team]": PAIR["team"], "after": middle},
        "20 of both": {"model": "rare", "metadata[team]": PAIR["team"]},
    }
    for name, query in queries.items():

        async def ask(query: dict[str, str] = query) -> None:
            assert (await http.get(list_path, params=query)).json()["data"]

        print(f"{about}, list {name}: {await _timed(count, ask)}")

    async def find() -> None:
        found = await http.get(f"{list_path}/{completion_id(random.choice(runs))}")
        assert found.status_code == 200

    print(f"{about}, retrieve: {await _timed(count, find)}")


@contextmanager
def _api(redis_url: str, directory: Path) -> Iterator[str]:
    config = directory / "agents.yml"
    config.write_text("agents: {agent: {model: echo}}\n")
    argv = module("trunkline", "api", str(config), "--redis-url", redis_url, "--port", str(PORT))
    more = ("--prefix", PREFIX, "--log-level", "error")
    with process(*argv, *more, log=directory / "api.log", TRUNKLINE_SECRET_KEY=SECRET):
        yield f"http://127.0.0.1:{PORT}"


async def _bench(many: int, count: int) -> None:
    with RedisServer(tcp=True) as server, tempfile.TemporaryDirectory() as directory:
        redis = Redis.from_url(server.url)
        for secret_key in (None, SECRET):
            await redis.flushall()
            filler = await _filler(redis, secret_key)
            keys, how = filler.bed.keys, "sealed" if secret_key else "in clear"
            chain: list[str] = []

            async def follow(filler: Filler = filler, chain: list[str] = chain) -> str:
                chain.insert(0, await filler.response(chain))
                return chain[0]

            index = keys.responses("anonymous")
            print(f"a response, {how}: {await _sizes(filler, index, filler.response)}")
            print(f"one that follows others, {how}: {await _sizes(filler, index, follow)}")
            size = await _sizes(
                filler,
                keys.completions("anonymous"),
                lambda filler=filler: filler.completion("rare", PAIR),
            )
            print(f"a completion, {how}: {size}, in 3 lists")
        await redis.flushall()
        await filler.bed.load()
        with _api(server.url, Path(directory)) as url:
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                await _answering(http)
                runs: list[str] = []
                chain = []
                for goal in (100, many):
                    while len(runs) < goal:
                        number = len(runs)
                        model = "common" if number % 3 else "rare"
                        runs.append(await filler.completion(model, {"team": f"t{number % 10}"}))
                        chain.insert(0, await filler.response(chain))
                    await _reads(http, count, runs, f"of {goal}")

                    async def find(last: str = chain[0]) -> None:
                        found = await http.get(f"/v1/responses/{response_id(last)}")
                        assert found.status_code == 200

                    print(f"of {goal}, retrieve the end of a chain: {await _timed(count, find)}")
                    began = time.perf_counter()
                    history = await filler.responses.history(response_id(chain[0]), "anonymous")
                    took_ms = (time.perf_counter() - began) * 1000
                    assert len(history.items) == 2 * len(chain)
                    print(f"of {goal}, follow a chain of all: {took_ms:.0f} ms")
        await redis.aclose()


async def _filler(redis: Redis, secret_key: str | None) -> Filler:
    bed = Bed(redis)
    await bed.load()
    pipe = Pipe(redis, bed.scripts, timeout_s=30, name="bench")
    await pipe.start()
    return Filler(redis, secret_key, pipe)


async def _answering(http: httpx.AsyncClient) -> None:
    while True:
        try:
            if (await http.get("/alive")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.05)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stored", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1000 of each in place of 10,000")
    quick = parser.parse_args().quick
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    asyncio.run(_bench(1000 if quick else 10_000, 100 if quick else 400))


if __name__ == "__main__":
    _main()
