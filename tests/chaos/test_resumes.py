"""Readers of running responses who leave and come back, anywhere, while workers are killed.

Whatever they do, each has been told the bytes of the log, rendered from its start.
CHAOS_RESUMES sets how often they come back.
"""

import asyncio
import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import redis

from tests.chaos import logs
from tests.fakes.system import System, upstream_agent
from trunkline_api.render.response import About
from trunkline_api.render.responses import ResponsesRenderer
from trunkline_shared.events import Attempt, RunEvent
from trunkline_shared.vault import Vault

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(900)]

RESUMES = int(os.environ.get("CHAOS_RESUMES", "100"))
EACH = 10  # of one reader
READERS = 5  # of one response
WORDS = 160
MODEL = f"slow-{WORDS}x20"
ENDS = ("response.completed", "response.incomplete", "response.failed")


@dataclass
class Reader:
    """What one client was told, over all its connections; comments left out."""

    response: str = ""
    blocks: list[bytes] = field(default_factory=list)
    resumes: int = 0
    ended: bool = False

    async def read(self, reply: aiohttp.ClientResponse, count: int) -> None:
        """Reads so many events, or all there are. Half of an event counts for nothing."""
        assert reply.status == 200, await reply.text()
        rest = b""
        async for chunk in reply.content.iter_any():
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                if block.startswith(b":"):
                    continue
                self.blocks.append(block + b"\n\n")
                self.ended = _value(block)["type"] in ENDS
                count -= 1
                if not count or self.ended:
                    return

    @property
    def last(self) -> int:
        return int(_value(self.blocks[-1])["sequence_number"])


async def test_who_comes_back_is_told_the_log_and_nothing_else(tmp_path: Path) -> None:
    config = {"agents": {MODEL: upstream_agent(MODEL)}}
    with System(tmp_path, config, apis=2, workers=3) as system:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            talk = _Talk(system, session)
            async with asyncio.TaskGroup() as tasks:
                count = max(1, RESUMES // (EACH * READERS))
                runs = [tasks.create_task(talk.response(number)) for number in range(count)]
                tasks.create_task(_kill_twice(system))
        readers = [reader for run in runs for reader in run.result()]
        with system.redis.client() as client:
            rendered = {each.response: _rendered(client, each.response) for each in readers}
            attempts = [len(logs.attempts(client, _run_id(each))) for each in rendered]
    resumes = sum(reader.resumes for reader in readers)
    print(f"{resumes} resumes by {len(readers)} readers; attempts: {attempts}")
    assert max(attempts) > 1 and resumes >= RESUMES // 2
    for reader in readers:
        assert b"".join(reader.blocks) == rendered[reader.response]


class _Talk:
    def __init__(self, system: System, session: aiohttp.ClientSession) -> None:
        self._urls = [f"{system.base_url(api)}/responses" for api in range(len(system.apis))]
        self._session = session

    async def response(self, number: int) -> list[Reader]:
        """One response, asked for with or without a stream, and all its readers."""
        body = {"model": MODEL, "input": "go", "background": True, "stream": number % 2 == 0}
        first = Reader()
        async with self._session.post(random.choice(self._urls), json=body) as reply:
            if body["stream"]:
                await first.read(reply, random.randint(1, 20))
                first.response = _value(first.blocks[0])["response"]["id"]
            else:
                first.response = (await reply.json())["id"]
        readers = [first, *(Reader(first.response) for _ in range(READERS - 1))]
        # Some come before a worker is killed, some after.
        waits = [0.0, *(random.uniform(0, 6) for _ in readers[1:])]
        await asyncio.gather(*map(self._follow, readers, waits))
        return readers

    async def _follow(self, reader: Reader, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        while not reader.ended:
            url = f"{random.choice(self._urls)}/{reader.response}?stream=true"
            if reader.blocks:
                reader.resumes += 1
                url += f"&starting_after={reader.last}"
            count = random.randint(1, 2 * WORDS // EACH) if reader.resumes < 2 * EACH else -1
            async with self._session.get(url) as reply:
                await reader.read(reply, count)
                reply.close()


async def _kill_twice(system: System) -> None:
    with system.redis.client() as client:
        for _ in range(2):
            await asyncio.sleep(random.uniform(1.5, 3.0))
            held = {
                number: len(logs.held(client, logs.worker_id(worker)))
                for number, worker in enumerate(system.workers)
                if worker.code is None and "worker ready" in worker.logged()
            }
            system.kill_worker(max(held, key=held.__getitem__))
            system.start_worker()


def _rendered(client: redis.Redis, response: str) -> bytes:
    run_id = _run_id(response)
    record = orjson.loads(Vault(None).unpack(client.get(logs.KEYS.record(run_id)) or b""))
    events: dict[int, RunEvent] = {}
    for entry in logs.entries(client, run_id):
        for seq, event in enumerate(entry.events, entry.first_seq):
            if isinstance(event, Attempt) and event.drop_from is not None:
                events = {known: each for known, each in events.items() if known < event.drop_from}
            events[seq] = event
    about = About(run_id, record["model"], record["echo"])
    return ResponsesRenderer(about).render([*events.values()])


def _run_id(response: str) -> str:
    return response.removeprefix("resp_")


def _value(block: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(block.split(b"\ndata: ")[1])
    return value
