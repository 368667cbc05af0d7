"""Logs in a real Redis, and a tail that follows them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.patience import PATIENCE_S
from trunkline_api.lookup import Lookup
from trunkline_api.relay import Relay
from trunkline_api.tail import BLOCK_S, Tail
from trunkline_shared.connection import make_redis
from trunkline_shared.events import RunEvent
from trunkline_shared.frame import encode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Scripts
from trunkline_shared.settings import CommonSettings


@dataclass
class TailBed:
    redis: Any  # a client; its types are not fit for `await`
    pipe: Pipe
    blocking: Pipe
    lookup: Lookup
    tail: Tail
    closing: asyncio.Event
    keys: Keys

    async def create(self, run_id: str) -> None:
        await self.redis.xadd(self.keys.log(run_id), {"f": b'[1,["created",1]]'}, "0-1")

    async def add(self, run_id: str, first_seq: int, *events: RunEvent) -> None:
        stream_id = f"5-{first_seq + len(events) - 1}"
        await self.redis.xadd(
            self.keys.log(run_id), {"f": encode_frame(first_seq, events)}, stream_id
        )

    async def all(self, relay: Relay) -> list[RunEvent]:
        """Everything up to the end."""
        events: list[RunEvent] = []
        async with asyncio.timeout(PATIENCE_S):
            while not relay.ended:
                for batch in await relay.next(PATIENCE_S) or ():
                    events += batch.events
        return events


@asynccontextmanager
async def tail_bed(redis_url: str) -> AsyncIterator[TailBed]:
    settings, keys = CommonSettings(redis_url=redis_url, prefix="tail"), Keys("tail")
    scripts, closing = Scripts.build(keys, settings), asyncio.Event()
    async with AsyncExitStack() as stack:
        client = make_redis(settings, socket_timeout=None, health_check_interval=0)
        stack.push_async_callback(client.aclose)
        pipe = Pipe(client, scripts, timeout_s=PATIENCE_S, name="main")
        await pipe.start()
        stack.push_async_callback(pipe.aclose)
        blocking = Pipe(client, scripts, timeout_s=BLOCK_S + PATIENCE_S, name="tail")
        lookup = Lookup(pipe, patience_s=PATIENCE_S)
        tail = Tail(blocking, lookup, keys, name="a", reader_bytes=10_000, closing=closing)
        await tail.start()
        stack.push_async_callback(tail.aclose)
        yield TailBed(client, pipe, blocking, lookup, tail, closing, keys)
