"""Waiting for what has to end, whatever happens to the one who waits."""

import asyncio
from collections.abc import Callable
from typing import Any

import anyio


async def until_ended(task: asyncio.Task[Any], hurry: Callable[[], None]) -> bool:
    """Return when the task has ended, however: whether a cancellation came meanwhile.

    Each one calls `hurry`, and is the caller's to raise again. Whoever uses anyio cancels whole
    scopes, which would hand us a cancellation at every await: those wait until we are done.
    """
    cancelled = False
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                cancelled = True
                hurry()
    return cancelled


async def until_set(event: asyncio.Event, task: asyncio.Task[Any]) -> None:
    """Return when the event is set. Raises what `task` raised if that ends first."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not event.is_set():
        task.result()
