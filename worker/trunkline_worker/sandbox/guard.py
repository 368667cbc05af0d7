"""Ends a command that fills its workspace above its measure, soon enough for the disk to hold.

Only a quota of the file system bounds what is written between two looks.
"""

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.workspace import Workspace

_LOOK_S: Final = 0.2  # how often the disk is looked at, which costs nothing
_MEASURE_S: Final = 1.0  # how often the workspace is measured, or a tenth of the time
_SPARE_BYTES: Final = 256 << 20  # of the disk, for everybody else
_SPARE_ENTRIES: Final = 10_000
_BYTES_PER_ENTRY: Final = 8192
_PATH: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@dataclass(frozen=True, slots=True)
class Amount:
    bytes: int
    entries: int

    def over(self, other: "Amount") -> bool:
        return self.bytes > other.bytes or self.entries > other.entries


class Guard:
    """Of one command. A command whose workspace is within its measure is left alone, however full
    the disk is. `full`: it was not when the command began, which then must not write.
    """

    def __init__(self, workspace: Workspace, spare_bytes: int = _SPARE_BYTES) -> None:
        self._workspace = workspace
        self._spare = Amount(spare_bytes, _SPARE_ENTRIES)
        self._limit = Amount(workspace.max_bytes, workspace.max_bytes // _BYTES_PER_ENTRY)
        self._allowed = self._limit
        self._mark = workspace.home / "full"
        self._began = time.time()
        self._removes = False
        self._before = self._free()
        self.full = False
        self.why = ""
        """Why the command was ended, or would have been had it not been so quick."""

    async def begin(self) -> None:
        """Before the command starts. What was ended for its size once is measured until it fits."""
        if not self._mark.exists():
            return
        try:
            used = await self._used()
        except OSError:  # some of it is hidden
            self.full = True
            return
        self.full = used.over(self._limit)
        if self.full:
            most = max(used.bytes, self._limit.bytes), max(used.entries, self._limit.entries)
            self._allowed = Amount(*most)
        else:
            self._mark.unlink(missing_ok=True)

    async def watch(self, process: Process) -> None:
        """Returns when it has ended, maybe by us."""
        clock = asyncio.get_running_loop().time
        measured, took = clock(), 0.0
        while process.exit_code is None:
            await asyncio.sleep(_LOOK_S)
            hurry = self._hurry()
            pause_s = max(_LOOK_S, 2 * took) if hurry else max(_MEASURE_S, 10 * took)
            if clock() - measured < pause_s:
                continue
            began = clock()
            await self._judge(process)
            measured = clock()
            took = measured - began
        await process.end()
        await self.settle(process)

    async def settle(self, process: Process) -> None:
        """When it has ended: removes what it wrote, if that may not stay."""
        if self.why or self._hurry():  # much may have come since it was measured
            await self._judge(process)
        if not self._removes:
            return
        home, since = self._workspace.home, f"@{self._began:.6f}"
        find = await asyncio.create_subprocess_exec(
            *("find", str(home / "work"), str(home / "tmp"), "-xdev", "-mindepth", "1", "-depth"),
            *("-newerct", since, "(", "!", "-type", "d", "-o", "-empty", ")", "-delete"),
            env=_PATH,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await find.wait()
        finally:
            if find.returncode is None:
                find.kill()
        self._removes = False
        self._remember()

    def _hurry(self) -> bool:
        """Whether much was written since the last measure, or little is left of the disk."""
        free = self._free()
        lost = self._before.bytes - free.bytes, self._before.entries - free.entries
        return Amount(8 * lost[0], 8 * lost[1]).over(self._limit) or self._spare.over(free)

    async def _judge(self, process: Process) -> None:
        self._before = free = self._free()
        try:
            used = await self._used()
        except OSError as error:
            process.stop(f"how much the workspace holds is not known: {error.strerror or error}")
            self._remember()
            return
        if not used.over(self._allowed):
            return
        twice = Amount(2 * self._limit.bytes, 2 * self._limit.entries)
        # What others need is not left to it; else what it wrote stays, for it to choose from.
        self._removes |= self.full or self._spare.over(free) or used.over(twice)
        what = f"{self._limit.bytes >> 20} MiB"
        if used.bytes <= self._allowed.bytes:
            what = f"{self._limit.entries} files and directories"
        end = "; what was written is removed" if self._removes else ""
        self.why = f"the workspace holds more than {what}{end}"
        process.stop(self.why)
        self._remember()

    def _remember(self) -> None:
        with suppress(OSError):  # the disk may be too full for that, too
            self._mark.touch(mode=0o600)

    def _free(self) -> Amount:
        disk = os.statvfs(self._workspace.path)
        # Some file systems do not count entries.
        entries = disk.f_favail if disk.f_files else _SPARE_ENTRIES
        return Amount(disk.f_bavail * disk.f_frsize, entries)

    async def _used(self) -> Amount:
        entries = await self._entries()
        return Amount(await self._workspace.used_bytes(), entries)

    async def _entries(self) -> int:
        du = await asyncio.create_subprocess_exec(
            *("du", "-s", "--inodes", "--", str(self._workspace.home)),
            env=_PATH,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            said, _ = await du.communicate()
        finally:
            if du.returncode is None:
                du.kill()
                await du.wait()
        return int(said.split()[0]) if said else 0
