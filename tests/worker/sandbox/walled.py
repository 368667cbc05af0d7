"""Commands behind each kind of walls, as root and as an ordinary user, and a world outside of them
whose every file and process is theirs but for the walls."""

import asyncio
import ctypes
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trunkline_worker.sandbox import walls
from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.walls import Command, Kind, Limits, Sandbox
from trunkline_worker.sandbox.workspace import Workspace

PYTHON = "/usr/bin/python3"  # Debian's, which every user may run
TOKEN = "the-worker's-own"
_CODE = Path(walls.__file__).parent
_USER = 65534
_AS_ROOT = 61999


@dataclass(frozen=True)
class Mode:
    """`root`: the worker is root and its commands are not; else both are one ordinary user."""

    kind: Kind
    root: bool

    def __str__(self) -> str:
        return f"{self.kind}-{'root' if self.root else 'user'}"

    @property
    def uid(self) -> int:
        if os.geteuid():
            return os.geteuid()
        return _AS_ROOT if self.root else _USER


def modes() -> list[Mode]:
    """Each kind of walls, under each kind of user that this one can be."""
    kinds: tuple[Kind, ...] = ("bwrap", "landlock")
    whose = (True, False) if os.geteuid() == 0 else (False,)
    return [Mode(kind, root) for kind in kinds for root in whose]


class Bed:
    """A workspace, and what lies around it."""

    def __init__(self, mode: Mode, base: Path, *, max_bytes: int = 1 << 30) -> None:
        self.mode = mode
        self.base = base
        self.workspace = Workspace(
            base / "own" / "work", mode.uid if mode.root else None, max_bytes=max_bytes
        )
        for name in ("own/work", "own/tmp", "outside"):
            (base / name).mkdir(parents=True)
        (base / "outside/secret").write_text(TOKEN)
        (base / "outside/file").write_text("whole")
        shutil.copy("/bin/true", base / "outside/program")
        self.give(base / "own")
        self.give(base / "outside")

    def give(self, path: Path) -> None:
        """To the user of the commands, with all that is below it."""
        if os.geteuid() == 0:
            for each in (path, *path.rglob("*")):
                os.chown(each, self.mode.uid, self.mode.uid)

    def wrap(self, *argv: str, limits: Limits | None = None, **more: Any) -> Command:
        sandbox = Sandbox(self.mode.kind)
        command = sandbox.wrap(argv, self.workspace, limits=limits, **more)
        return command if self.mode.root else self.as_user(command)

    def as_user(self, command: Command) -> Command:
        """Started by an ordinary user, whose Python is not the one of these tests."""
        if os.geteuid():
            return command
        code = self.base / "code"
        if not code.exists():
            shutil.copytree(_CODE, code / "trunkline_worker/sandbox")
            (code / "trunkline_worker/__init__.py").touch()
        launch = command.argv[2].replace(str(_CODE.parents[1]), str(code))
        argv = [*self.becoming(), PYTHON, "-ISc", launch, *command.argv[3:]]
        return replace(command, argv=argv)

    def becoming(self) -> list[str]:
        """What starts a command as the user of the sandbox, without walls."""
        ids = (f"--reuid={self.mode.uid}", f"--regid={self.mode.uid}", "--clear-groups")
        return [] if os.geteuid() else ["setpriv", *ids]

    async def run(
        self, script: str, *arguments: str, timeout_s: float = 30, **more: Any
    ) -> tuple[int, str]:
        """A Python program in the sandbox: its exit code, and what it said."""
        process = await self.start(script, *arguments, **more)
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        finally:
            await process.end()
        assert process.exit_code is not None
        return process.exit_code, process.output.take()

    async def start(
        self, script: str, *arguments: str, say: Callable[[str], None] = print, **more: Any
    ) -> Process:
        command = self.wrap(PYTHON, "-c", script, *arguments, **more)
        return await Process.start(command, cap=1 << 16, say=say)


def alive(mark: str) -> int:
    """How many processes have it in their command line."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            # Whoever started it has the same words behind the walls it was to build.
            count += mark.encode() in words and words[0] == PYTHON.encode() and words[1] == b"-c"
    return count


@contextmanager
def bed(mode: Mode, root: Path | None = None, *, max_bytes: int = 1 << 30) -> Iterator[Bed]:
    base = Path(tempfile.mkdtemp(prefix="walled-", dir=root))
    base.chmod(0o755)
    try:
        yield Bed(mode, base, max_bytes=max_bytes)
    finally:
        shutil.rmtree(base)


class World:
    """Everything outside that an attempt may be after, and whether it was got at."""

    def __init__(self, bed: Bed) -> None:
        self._undo = ExitStack()
        outside = bed.base / "outside"
        other = bed.base / "other" / "work"
        other.mkdir(parents=True)
        (other / "file").write_text(TOKEN)
        bed.give(bed.base / "other")
        self._tcp = self._undo.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        self._udp = self._undo.enter_context(closing(_bound(socket.SOCK_DGRAM, ("127.0.0.1", 0))))
        self._unix = self._undo.enter_context(closing(_bound_unix(str(outside / "socket"))))
        self._abstract = self._undo.enter_context(closing(_bound_unix(f"\0{bed.base}")))
        bed.give(outside)
        self.victim = subprocess.Popen(
            [*bed.becoming(), "sleep", "1000"], cwd=outside, env={"KEY": TOKEN, **_PATH}
        )
        self._undo.callback(self.victim.wait)
        self._undo.callback(self.victim.kill)
        self._shared = _shared_memory(bed.mode.uid)
        self._undo.callback(_forget, self._shared[1])
        self._before = self._state()
        self.facts = json.dumps(
            {
                "secret": str(outside / "secret"),
                "folder": str(outside),
                "other": str(other),
                "pid": self.victim.pid,
                "tcp": self._tcp.getsockname()[1],
                "udp": self._udp.getsockname()[1],
                "net": os.readlink("/proc/self/ns/net"),
                "abstract": str(bed.base),
                "shared": self._shared[0],
                "uid": bed.mode.uid,
                "token": TOKEN,
            }
        )

    def unharmed(self) -> bool:
        """Whether nobody has spoken to us, and the neighbour lives as it did."""
        for listener in (self._tcp, self._unix, self._abstract, self._udp):
            listener.setblocking(False)
            try:
                if listener is self._udp:
                    listener.recv(100)
                else:
                    listener.accept()[0].close()
                return False
            except BlockingIOError:
                continue
        return self.victim.poll() is None and self._state() == self._before

    def close(self) -> None:
        self._undo.close()

    def _state(self) -> object:
        pid = self.victim.pid
        limits = Path(f"/proc/{pid}/limits").read_text()
        return os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), limits


_PATH = {"PATH": "/usr/bin:/bin"}
_LIBC = ctypes.CDLL(None, use_errno=True)


def _bound(kind: socket.SocketKind, address: tuple[str, int]) -> socket.socket:
    bound = socket.socket(socket.AF_INET, kind)
    bound.bind(address)
    return bound


def _bound_unix(address: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(address)
    bound.listen()
    return bound


def _shared_memory(uid: int) -> tuple[int, int]:
    """A System V segment that all may use: its key and its id."""
    key = int.from_bytes(os.urandom(3)) + 1
    made = _LIBC.shmget(key, 4096, 0o1666)
    assert made >= 0, os.strerror(ctypes.get_errno())
    return key, made


def _forget(segment: int) -> None:
    _LIBC.shmctl(segment, 0, None)
