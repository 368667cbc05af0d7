"""That commands do not fill the disk, nor their workspace above its measure.

What is written between two looks is not held: that only a quota of the file system does.
"""

import asyncio
import os
from typing import Final

from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.workspace import Workspace

_PATIENCE_S: Final = 1.0  # with a look before a command
_GLANCE_S: Final = 0.1  # between glances at the disk as a whole
_LOOK_S: Final = 1.0  # between looks at the workspace, or ten times what one takes
_MUCH_BYTES: Final = 64 << 20  # gone from the disk, so that a look is due
_SPARE_BYTES: Final = 256 << 20  # of the disk, for everybody else
_SPARE_FILES: Final = 1 << 14


async def is_full(workspace: Workspace) -> bool:
    """Whether it holds too much, or hides what it holds: then commands may only remove."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await workspace.used_bytes() > workspace.max_bytes
    except TimeoutError:
        return False  # `guard` will find out
    except OSError:
        return True


async def guard(process: Process, workspace: Workspace, *, full: bool) -> None:
    """Stops a command that takes too much, if it was `full` before as soon as there is more."""
    try:
        await _watch(process, workspace, full)
    except OSError as error:
        process.stop(f"how much the workspace holds is not known: {error.strerror or error}")


async def _watch(process: Process, workspace: Workspace, full: bool) -> None:
    clock = asyncio.get_running_loop().time
    first: int | None = None
    rested, due = 0.0, clock() + (_LOOK_S if full else 0)
    free, _ = _left(workspace)
    while process.exit_code is None:
        await asyncio.sleep(_GLANCE_S)
        now = clock()
        if now < rested or (now < due and free - _left(workspace)[0] < _MUCH_BYTES):
            continue
        used = await workspace.used_bytes()
        took = clock() - now
        rested, due = clock() + 10 * took, clock() + max(_LOOK_S, 10 * took)
        first = used if first is None else first
        free, scarce = _left(workspace)
        if used > max(workspace.max_bytes, first if full else 0):
            process.stop(f"the workspace holds more than {workspace.max_bytes >> 20} MiB")
        elif scarce and used > first + _MUCH_BYTES:
            process.stop("the disk is nearly full")


def _left(workspace: Workspace) -> tuple[int, bool]:
    """The free bytes of the disk, and whether little is left of it."""
    disk = os.statvfs(workspace.path)
    free = disk.f_bavail * disk.f_frsize
    few = disk.f_files > 0 and disk.f_favail < _SPARE_FILES
    return free, few or free < _SPARE_BYTES
