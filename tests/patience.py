"""Waiting for what no event tells, with a limit far above what it takes."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 60.0
_T = TypeVar("_T")


async def until(holds: Callable[[], object]) -> None:
    """Returns when `holds()` is true; fails after 60 s."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.005)


def waited(holds: Callable[[], _T]) -> _T:
    """What `holds()` gives once that is true, for tests without a loop; fails after 60 s."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
