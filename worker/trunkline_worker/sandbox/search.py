"""Looks through a directory's files for a pattern, as a process of its own.

A pattern that takes for ever can be stopped there, and holds nobody up. Runs as
`python -ISc ... ROOT PATH GLOB PATTERN`, on the standard library alone.
"""

import fnmatch
import os
import re
import resource
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import NoReturn

from trunkline_worker.sandbox import kernel
from trunkline_worker.sandbox.beneath import Beneath

_FILES = 50_000
_MATCHES = 200
_LINE = 300
_FILE_BYTES = 8 << 20
_CPU_S = 20
_MEMORY_BYTES = 512 << 20
_SAID_BYTES = 64 << 10


REFUSED = 3  # what was said last says why


def main() -> None:
    root, path, glob, pattern, parent = sys.argv[1:6]
    kernel.die_with(int(parent), signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    # Names need not be any text.
    with open(1, "w", encoding="utf-8", errors="replace") as out, redirect_stdout(out):
        try:
            wanted = re.compile(pattern) if pattern else None
            _search(Beneath(root), path.strip("/") or ".", glob, wanted)
        except (re.error, RecursionError, OverflowError) as error:
            _refuse(f"pattern: {error}")
        except MemoryError:
            _refuse("The search takes too much memory; narrow it.")


def _refuse(why: str) -> NoReturn:
    print(f"\n{why}")
    sys.exit(REFUSED)


def _search(beneath: Beneath, path: str, glob: str, wanted: re.Pattern[str] | None) -> None:
    found, room = 0, _SAID_BYTES
    for name in _files(beneath, path):
        if not _matches(name, glob):
            continue
        for line in _lines(beneath, name, wanted) if wanted else (name,):
            room -= len(line.encode(errors="replace")) + 1
            if found == _MATCHES or room < 0:
                print(f"[only the first {found} are shown]")
                return
            found += 1
            print(line)


def _files(beneath: Beneath, start: str) -> Iterator[str]:
    waiting, seen = [start], 0
    with beneath.reading(start) as file:
        if stat.S_ISREG(os.fstat(file).st_mode):
            yield start
            return
    while waiting:
        folder = waiting.pop()
        for name, mode in sorted(_entries(beneath, folder), reverse=True):
            seen += 1
            if seen > _FILES:
                print(f"[only the first {_FILES} files were looked at]")
                return
            path = name if folder == "." else f"{folder}/{name}"
            if stat.S_ISDIR(mode) and name != ".git":
                waiting.append(path)
            elif stat.S_ISREG(mode):
                yield path


def _entries(beneath: Beneath, folder: str) -> list[tuple[str, int]]:
    try:
        with beneath.reading(folder) as directory:
            if not stat.S_ISDIR(os.fstat(directory).st_mode):
                return []
            return [
                (name, os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
                for name in os.listdir(directory)
            ]
    except OSError:
        return []  # it went away, or may not be read


def _matches(path: str, glob: str) -> bool:
    if "/" not in glob:
        return fnmatch.fnmatchcase(path.rpartition("/")[2], glob)
    return any(fnmatch.fnmatchcase(path, each) for each in (glob, glob.replace("**/", "")))


def _lines(beneath: Beneath, path: str, wanted: re.Pattern[str]) -> Iterator[str]:
    try:
        with beneath.reading(path) as file:
            content = os.read(file, _FILE_BYTES)
    except OSError:
        return
    if b"\0" in content[:8192]:
        return
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        if wanted.search(line):
            yield f"{path}:{number}:{line[:_LINE]}"
