"""Starting `trunkline serve` as a process, and seeing what becomes of its children."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

from tests.fakes.redis_server import binary_for_tests

PATIENCE_S = 20.0  # for what takes well under a second on a machine that is not loaded


def eventually(what: str, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"in vain waited until {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """A zombie that nobody has collected yet counts as ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def descendants(pid: int) -> list[int]:
    """Children first, then theirs."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(ppid, []).append(int(stat.parent.name))
    found = parents.get(pid, [])
    return found + [below for child in found for below in descendants(child)]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Process:
    """A running program; everything that it started is gone when `with` ends."""

    def __init__(
        self, *command: str, environ: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._seen: set[int] = set()
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**clean_environ(), **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._streams = (self.process.stdout, self.process.stderr)
        self._readers = [
            threading.Thread(target=_collect, args=(stream, lines))
            for stream, lines in zip(self._streams, (self.out, self.err), strict=True)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def url(self) -> str:
        """The base URL, without /v1, that `serve` has printed, once it has."""
        self.printed("try it")
        assert self.process.poll() is None, "".join(self.err)
        return self.out[0].split()[-1].removesuffix("/v1")

    def children(self) -> list[int]:
        found = descendants(self.process.pid)
        self._seen.update(found)
        return found

    def child(self, word: str) -> int:
        """The process whose command line has this word."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [pid for pid in self.children() if f" {word} " in command_line(pid) + " "]
            return bool(found)

        eventually(f"there is a process {word!r}", look)
        return found[0]

    def logged(self, word: str) -> None:
        eventually(f"it logs {word!r}", lambda: any(word in line for line in self.err))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def printed(self, word: str) -> str:
        """The first line on standard output with this word."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in self.out if word in line]
            return bool(found) or self.process.poll() is not None

        eventually(f"it prints {word!r}", look)
        assert found, "".join(self.err)
        return found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.children()
        if self.process.poll() is None:
            self.process.kill()
        for pid in self._seen:
            if is_alive(pid):
                eventually(f"child {pid} is gone", lambda pid=pid: not is_alive(pid))
        self.end()
        for stream in self._streams:
            if stream:
                stream.close()


class Serve(Process):
    """A running `serve`."""

    def __init__(
        self, *arguments: str, module: str = "trunkline", environ: dict[str, str] | None = None
    ) -> None:
        super().__init__(sys.executable, "-m", module, "serve", *arguments, environ=environ)


def clean_environ() -> dict[str, str]:
    """The tests' own environment without settings of somebody's, and with the Redis for tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    path = (str(binary_for_tests().parent), os.environ.get("PATH", ""))
    return {**kept, "PATH": os.pathsep.join(path)}


def run_trunkline(
    *arguments: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "trunkline", *arguments],
        env={**clean_environ(), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def _collect(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)
