"""Work that may take a while, beside the loop that others' streams are on."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

_LARGE: Final = 64 * 1024
_T = TypeVar("_T")


async def aside(size: int, work: Callable[[], _T]) -> _T:
    """What `work` returns; in a thread where the `size` of what it is about, in bytes, is large."""
    return await asyncio.to_thread(work) if size > _LARGE else work()
