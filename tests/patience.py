"""Waiting for what no event tells, with a limit far above what it takes."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 20.0


async def until(holds: Callable[[], object]) -> None:
    """Returns when `holds()` is true; fails after 20 s."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.005)
