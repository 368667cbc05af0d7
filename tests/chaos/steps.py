"""A run for each point of `steps_worker` at which it can be killed: what was done, how often."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import redis

from tests.chaos import logs
from tests.chaos.steps_worker import FIRST, SECOND, UNKNOWN
from tests.chaos.talk import Told, ask, until
from tests.fakes.system import System

PROGRAM = "tests.chaos.steps_worker"
POINTS = (
    *("before model 1", "in model 1", "after model 1"),
    *("before tool", "begun tool", "in tool", "after tool"),
    *("in model 2", "after model 2"),
)
EFFECTS = ("pure", "idempotent", "at_most_once")


@dataclass(frozen=True)
class Cell:
    point: str
    effect: str
    stream: bool


@dataclass(frozen=True)
class Seen:
    """What became of one run: how often each thing was done, and what its client got: 'whole',
    UNKNOWN if it was whole and its agent was told that of the tool, or an error's code.
    """

    first: int
    tool: int
    second: int
    got: str


CELLS = [Cell(p, e, s) for p in POINTS for e in EFFECTS for s in (False, True)]


def promised(cell: Cell) -> Seen:
    """What must become of it."""
    if cell.stream and cell.point in ("in model 1", "in model 2"):
        asked_twice = cell.point == "in model 2"
        return Seen(1, int(asked_twice), int(asked_twice), "worker_lost")
    first = 2 if cell.point == "in model 1" else 1
    second = 2 if cell.point == "in model 2" else 1
    if cell.effect == "at_most_once" and cell.point in ("begun tool", "in tool"):
        return Seen(first, int(cell.point == "in tool"), second, UNKNOWN)
    return Seen(first, 2 if cell.point == "in tool" else 1, second, "whole")


async def observe(directory: Path) -> dict[Cell, Seen]:
    """Runs all cells on one worker, kills it when each stands where it is to, starts another."""
    standing = directory / "at"
    standing.mkdir()
    config = {"agents": {"steps": {"model": "echo"}}}
    system = System(directory, config, worker_program=PROGRAM)
    with system, system.redis.client() as client:
        asking = asyncio.create_task(_ask_all(system.base_url()))
        await until(lambda: len([*standing.iterdir()]) == len(CELLS))
        await until(lambda: all(_has_said(client, path) for path in standing.iterdir()))
        system.kill_worker(0)
        system.start_worker()
        told = await asking
        for each in told.values():
            logs.assert_gapless(client, each.run_id)
        assert not client.keys(logs.KEYS.journal("*"))
    did = Counter((directory / "did").read_text().splitlines())
    return {cell: _seen(each, did) for cell, each in told.items()}


async def _ask_all(base_url: str) -> dict[Cell, Told]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = [
            ask(
                session, base_url, "steps", stream=cell.stream, text=f"{cell.point}/{cell.effect}/1"
            )
            for cell in CELLS
        ]
        return dict(zip(CELLS, await asyncio.gather(*asked), strict=True))


def _has_said(client: redis.Redis, path: Path) -> bool:
    """Whether the log has what the run said before it stood still."""
    point = path.read_text()
    if not point.startswith("in model"):
        return point != ""
    said = {"in model 1": FIRST, "in model 2": SECOND[:3]}[point]
    return any(text.startswith(said) for text in logs.texts(client, path.name))


def _seen(told: Told, did: Counter[str]) -> Seen:
    first, tool, second = (
        did[f"{told.run_id} {what}"] for what in ("model 1", "tool 1", "model 2")
    )
    return Seen(first, tool, second, _got(told))


def _got(told: Told) -> str:
    if told.error is not None:
        return str(told.error["code"])
    by_text = {FIRST + SECOND.format("done"): "whole", FIRST + SECOND.format(UNKNOWN): UNKNOWN}
    ended = told.finish == "stop" and told.done
    text = spoken(told)
    return by_text.get(text, f"wrong text {text!r}") if ended else "a quiet end"


def spoken(told: Told) -> str:
    """The text of all steps, without the blank line that chat has where the agent acted."""
    return told.text.replace("\n\n", "")
