"""One run for each place where a worker can be killed; what was done twice, and what clients got.

    python -m tests.chaos.crashes      writes what is observed into docs/operations.md

The agents are real: a model that is asked over a socket, and a Python function as their tool.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import redis

from tests.chaos import logs
from tests.chaos.crash_cell import FIRST, SECOND, Place
from tests.chaos.crash_upstream import CrashUpstreamProcess
from tests.chaos.talk import Told, ask, ask_responses, until
from tests.fakes.system import System
from trunkline_worker.agent_lane.calls import UNKNOWN_OUTCOME

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
POINTS = {
    "asked 1": "while the model is asked",
    "in model 1": "while it speaks",
    "begun tool": "while a tool works, before its effect",
    "in tool": "while a tool works, after its effect",
    "asked 2": "while the model is asked again",
    "in model 2": "while it speaks again",
}
EFFECTS = ("pure", "idempotent", "at_most_once")
CLIENTS = ("whole reply", "chat stream", "Responses stream")
HEAD = (
    "the worker is killed",
    "model asked",
    "effects of a `pure` or `idempotent` tool",
    "of an `at_most_once` one",
    "model asked again",
    *CLIENTS,
)
WHOLE, CUT, UNKNOWN = "whole", "whole, beside an `incomplete` item", "told unknown"


@dataclass(frozen=True)
class Cell:
    point: str
    effect: str
    client: str


@dataclass(frozen=True)
class Seen:
    """What became of one run: how often each thing was done, and what its client got: WHOLE, CUT,
    UNKNOWN if it was whole and its agent was told that of the tool's outcome, or an error's code.
    """

    first: int
    tool: int
    second: int
    got: str


CELLS = [Cell(at, effect, client) for at in POINTS for effect in EFFECTS for client in CLIENTS]
# What has been said when all runs stand still: a text each, a second one where the model speaks
# again, and nothing yet where it is asked.
TEXTS = len(CELLS)


def promised(cell: Cell) -> Seen:
    """What must become of it."""
    asked = cell.point in ("asked 1", "asked 2")
    if cell.client == "chat stream" and cell.point in ("in model 1", "in model 2"):
        reached = int(cell.point == "in model 2")
        return Seen(1, reached, reached, "`worker_lost`")
    first = 2 if cell.point in ("asked 1", "in model 1") else 1
    second = 2 if cell.point in ("asked 2", "in model 2") else 1
    if cell.effect == "at_most_once" and cell.point in ("begun tool", "in tool"):
        return Seen(first, int(cell.point == "in tool"), second, UNKNOWN)
    got = CUT if cell.client == "Responses stream" and not asked else WHOLE
    return Seen(first, 2 if cell.point == "in tool" else 1, second, got)


async def observe(directory: Path) -> dict[Cell, Seen]:
    """Runs all cells on one worker, kills it when each stands where it is to, starts another."""
    standing = directory / "at"
    standing.mkdir()
    upstream = CrashUpstreamProcess(directory / "crashes.log", os.environ)
    try:
        agents = {effect: _agent(upstream.base_url, effect) for effect in EFFECTS}
        system = System(directory, {"agents": agents})
        with system, system.redis.client() as client:
            asking = asyncio.create_task(_ask_all(system.base_url(), directory))
            await until(lambda: len([*standing.iterdir()]) == len(CELLS))
            await until(lambda: _texts(client) == TEXTS)
            system.kill_worker(0)
            system.start_worker()
            told = await asking
            for each in told.values():
                logs.assert_gapless(client, each.run_id)
            assert not client.keys(logs.KEYS.journal("*"))
    finally:
        upstream.stop()
    did = Counter((directory / "did").read_text().splitlines())
    return {cell: _seen(each, did, number) for number, (cell, each) in enumerate(told.items())}


def _agent(base_url: str, effect: str) -> dict[str, Any]:
    tool = {"type": "import", "import_path": "tests.chaos.crash_tool:look", "effect": effect}
    model = {"model": "openai:crashes", "base_url": base_url, "api_key": "upstream-secret"}
    return {**model, "toolsets": [tool]}


async def _ask_all(base_url: str, directory: Path) -> dict[Cell, Told]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        asked = []
        for number, cell in enumerate(CELLS):
            text = str(Place(str(directory), number, cell.point))
            if cell.client == "Responses stream":
                asked.append(ask_responses(session, base_url, cell.effect, text=text))
            else:
                stream = cell.client == "chat stream"
                asked.append(ask(session, base_url, cell.effect, stream=stream, text=text))
        return dict(zip(CELLS, await asyncio.gather(*asked), strict=True))


def _texts(client: redis.Redis) -> int:
    """How many there are in all logs."""
    stem = logs.KEYS.log("")
    runs = [key.decode().removeprefix(stem) for key in client.keys(f"{stem}*")]
    return sum(len([*logs.texts(client, run_id)]) for run_id in runs)


def _seen(told: Told, did: Counter[str], number: int) -> Seen:
    first, tool, second = (did[f"{number} {what}"] for what in ("model 1", "tool", "model 2"))
    return Seen(first, tool, second, _got(told))


def _got(told: Told) -> str:
    if told.error is not None:
        return f"`{told.error['code']}`"
    if told.finish != "stop" or not told.done:
        return "a quiet end"
    said = " ".join(told.text.split())  # chat sets what follows a call apart
    if said.startswith(FIRST + SECOND[:3]) and UNKNOWN_OUTCOME in said:
        return UNKNOWN
    if said != FIRST + SECOND.format("done"):
        return f"wrong text {told.text!r}"
    return CUT if told.cut else WHOLE


def table(seen: Mapping[Cell, Seen]) -> str:
    """The page's table, from what was seen."""
    return "".join(f"| {' | '.join(row)} |\n" for row in _rows(seen))


def _rows(seen: Mapping[Cell, Seen]) -> Iterator[tuple[str, ...]]:
    yield HEAD
    yield ("---",) * len(HEAD)
    for point, words in POINTS.items():
        pure, idempotent, once = (seen[Cell(point, each, CLIENTS[0])] for each in EFFECTS)
        assert pure == idempotent
        told = f", {UNKNOWN}" if once.got == UNKNOWN else ""
        counts = (str(pure.first), str(pure.tool), f"{once.tool}{told}", str(pure.second))
        yield words, *counts, *(seen[Cell(point, "pure", client)].got for client in CLIENTS)


def _main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        seen = asyncio.run(observe(Path(directory)))
    page = PAGE.read_text("utf-8")
    begin = page.index(f"| {HEAD[0]} |")
    end = page.index("\n\n", begin) + 1
    PAGE.write_text(page[:begin] + table(seen) + page[end:], "utf-8")


if __name__ == "__main__":
    _main()
