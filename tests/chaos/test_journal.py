"""Workers are killed while their agents work in steps: what is recorded is not done again."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
import redis

from tests.chaos import logs
from tests.chaos.steps import CELLS, PROGRAM, observe, promised, spoken
from tests.chaos.steps_worker import FIRST, SECOND, UNKNOWN
from tests.chaos.talk import Told, ask, until
from tests.fakes.system import System

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(300)]

RUNS = 40
CALLS = 30
KILLED_AT = (500, 1200, 1900)  # steps that were done, of the 2440 there are


async def test_what_is_recorded_is_not_done_again_at_whatever_point_the_worker_is_killed(
    tmp_path: Path,
) -> None:
    seen = await observe(tmp_path)
    assert seen == {cell: promised(cell) for cell in CELLS}


async def test_a_run_repeats_no_more_than_the_one_thing_that_each_kill_left_open(
    tmp_path: Path,
) -> None:
    with _two_workers(tmp_path) as system, system.redis.client() as client:
        asking = asyncio.create_task(_ask_many(system.base_url()))
        for number, steps in enumerate(KILLED_AT):
            await until(lambda steps=steps: len(_did(tmp_path)) >= steps)
            system.kill_worker(number)
            system.start_worker()
        told = await asking
        _assert_kept(client, _did(tmp_path), told)


async def test_nor_does_it_when_a_worker_that_was_paused_comes_back(tmp_path: Path) -> None:
    with _two_workers(tmp_path) as system, system.redis.client() as client:
        asking = asyncio.create_task(_ask_many(system.base_url()))
        for number, steps in enumerate(KILLED_AT[:2]):
            await until(lambda steps=steps: len(_did(tmp_path)) >= steps)
            worker = logs.worker_id(system.workers[number])
            system.kill_worker(number, signal.SIGSTOP)
            await until(lambda worker=worker: not logs.held(client, worker))
            system.kill_worker(number, signal.SIGCONT)
        told = await asking
        _assert_kept(client, _did(tmp_path), told)


async def test_a_run_whose_journal_is_full_is_lost_with_its_worker_and_repeats_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "at").mkdir()
    config, room = {"agents": {"steps": {"model": "echo"}}}, {"journal_bytes": 8}
    with System(tmp_path, config, worker_program=PROGRAM, settings=room) as system:
        async with aiohttp.ClientSession() as session:
            text = "after model 2/at_most_once/1"
            asked = ask(session, system.base_url(), "steps", stream=False, text=text)
            asking = asyncio.create_task(asked)
            await until(lambda: any((tmp_path / "at").iterdir()))
            system.kill_worker(0)
            system.start_worker()
            told = await asking
    assert told.error is not None and told.error["code"] == "worker_lost"
    assert [each.partition(" ")[2] for each in _did(tmp_path)] == ["model 1", "tool 1", "model 2"]


def _two_workers(directory: Path) -> System:
    config = {"agents": {"steps": {"model": "echo"}}}
    return System(directory, config, workers=2, worker_program=PROGRAM)


async def _ask_many(base_url: str) -> list[tuple[str, Told]]:
    effects = ["idempotent", "at_most_once"] * (RUNS // 2)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = [
            ask(session, base_url, "steps", stream=False, text=f"/{effect}/{CALLS}")
            for effect in effects
        ]
        return [*zip(effects, await asyncio.gather(*asked), strict=True)]


def _did(directory: Path) -> list[str]:
    log = directory / "did"
    return log.read_text().splitlines() if log.exists() else []


def _assert_kept(client: redis.Redis, did: list[str], told: list[tuple[str, Told]]) -> None:
    ends = Counter("whole" if each.error is None else each.error["code"] for _, each in told)
    print(f"{len(did)} steps done, of {len(set(did))}; {dict(ends)}")
    assert set(ends) <= {"whole", "worker_lost"} and ends["whole"] > RUNS / 2
    for effect, each in told:
        if each.error is None:
            _assert_one_kept(client, Counter(did), effect, each)


def _assert_one_kept(client: redis.Redis, did: Counter[str], effect: str, told: Told) -> None:
    ends = (SECOND.format(each) for each in ("done", UNKNOWN))
    assert spoken(told) in [FIRST * CALLS + end for end in ends]
    logs.assert_gapless(client, told.run_id)
    mine = {what: count for what, count in did.items() if what.startswith(told.run_id)}
    repeated = sum(count - 1 for count in mine.values())
    assert repeated <= len(logs.attempts(client, told.run_id)) - 1
    if effect == "at_most_once":
        assert {count for what, count in mine.items() if " tool " in what} == {1}
