"""Nothing gets out of a sandbox: each way out is tried behind each kind of walls, as root and as
an ordinary user."""

import asyncio
import subprocess
from collections.abc import Iterator

import pytest

from tests.worker.sandbox.escapes import NEVER, POSSIBLE, PRELUDE
from tests.worker.sandbox.walled import PYTHON, Bed, Mode, World, bed, modes

_SIDE = 4  # attempts at once

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=modes(), ids=str)
def walled(request: pytest.FixtureRequest) -> Iterator[Bed]:
    with bed(request.param) as made:
        for name in ("moved", "doomed"):
            (made.base / "outside" / name).touch()
        made.give(made.base / "outside")
        yield made


async def outcomes(walled: Bed, attempts: dict[str, str], facts: str) -> dict[str, tuple[int, str]]:
    room = asyncio.Semaphore(_SIDE)
    found: dict[str, tuple[int, str]] = {}

    async def attempt(name: str, script: str) -> None:
        async with room:
            found[name] = await walled.run(PRELUDE + script, facts)

    async with asyncio.TaskGroup() as tasks:
        for name, script in attempts.items():
            tasks.create_task(attempt(name, script))
    return found


async def test_no_way_out_of_the_sandbox_is_open(walled: Bed) -> None:
    world = World(walled)
    try:
        found = await outcomes(walled, POSSIBLE | NEVER, world.facts)
        assert {name: said for name, (code, said) in found.items() if code == 0} == {}
        # Each began and was held: none ended for a reason of its own.
        odd = ("SyntaxError", "NameError", "IndentationError", "cannot be built", "TypeError")
        assert [said for _, said in found.values() if any(word in said for word in odd)] == []
        assert world.unharmed()
        secret = walled.base / "outside/secret"
        assert (secret.read_text(), secret.stat().st_nlink) == ("the-worker's-own", 1)
        assert (walled.base / "outside/file").read_text() == "whole"
        assert sorted(path.name for path in (walled.base / "outside").iterdir()) == [
            *("doomed", "file", "moved", "program", "secret", "socket")
        ]
    finally:
        world.close()


def test_without_walls_what_is_called_possible_is() -> None:
    mode = Mode("none", root=False)
    closed = {}
    for name, script in POSSIBLE.items():
        with bed(mode) as free:
            for each in ("moved", "doomed"):
                (free.base / "outside" / each).touch()
            free.give(free.base / "outside")
            world = World(free)
            try:
                done = subprocess.run(
                    [*free.becoming(), PYTHON, "-c", PRELUDE + script, world.facts],
                    cwd=free.workspace.path,
                    capture_output=True,
                    text=True,
                    timeout=30,
                )
            finally:
                world.close()
            if done.returncode:
                closed[name] = done.stderr.strip().splitlines()[-1]
    assert closed == {}


def test_there_are_ways_enough_to_try() -> None:
    assert len(POSSIBLE) + len(NEVER) >= 30
