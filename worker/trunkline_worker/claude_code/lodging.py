"""Where a run's command line lives: a private directory, walls around it, and a way to end it."""

import asyncio
import logging
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from trunkline_worker.claude_code.progress import Entry
from trunkline_worker.sandbox.workspace import Workspace

logger = logging.getLogger("trunkline.claude_code")

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ssl", "/etc/alternatives")
_NETWORK: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_DYING_S: Final = 5.0
# What the SDK itself tells the command line, beside what we give it.
_OF_SDK: Final = (
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
)


@dataclass(frozen=True, slots=True)
class Lodging:
    """`home` is the command line's, with all that it writes about itself; `door` is the way to its
    model; `program` starts it, and is all that the SDK knows."""

    path: Path

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def door(self) -> Path:
        return self.path / "door"

    @property
    def program(self) -> Path:
        return self.path / "claude"

    def furnish(
        self, cli: Path, workspace: Workspace, variables: Mapping[str, str], *, network: bool
    ) -> None:
        """Makes `program`: it sees `variables` and nothing of the worker's own."""
        walls = _walls(self, cli, workspace, network=network)
        given = [f"{name}={value}" for name, value in variables.items()]
        passed = [f'"{name}=${name}"' for name in _OF_SDK]
        command = [*map(shlex.quote, ["env", "-i", *given]), *passed, *map(shlex.quote, walls)]
        # The number is that of the process which holds all others: `exec` keeps it.
        lines = (
            "#!/bin/sh",
            f"echo $$ >{shlex.quote(str(self._number))}",
            f"exec 9<>{shlex.quote(str(self._breath))}",
            f'exec {" ".join(command)} "$@"',
        )
        self.program.write_text("\n".join(lines))
        self.program.chmod(0o700)

    def recall(self, session: str, project: str, entries: Sequence[Entry]) -> None:
        """Lays the record of a session where the command line looks for it."""
        directory = self.config / "projects" / project
        directory.mkdir(mode=0o700, parents=True)
        lines = b"".join(orjson.dumps(entry) + b"\n" for entry in entries)
        (directory / f"{session}.jsonl").write_bytes(lines)

    def kill(self) -> None:
        """Ends the command line and all that it began, at once."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(self._number.read_text()), signal.SIGKILL)

    async def deserted(self) -> None:
        """Returns when nothing that the command line began is alive, after `kill`."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        fifo = os.fdopen(os.open(self._breath, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), fifo
        )
        try:
            async with asyncio.timeout(_DYING_S):
                while await reader.read(65536):
                    """What somebody in there wrote, for no reason."""
        except TimeoutError:
            logger.error("processes of a command line do not end: %s", self.path)
        finally:
            transport.close()

    @property
    def _number(self) -> Path:
        return self.path / "number"

    @property
    def _breath(self) -> Path:
        return self.path / "breath"  # a pipe that all processes of the command line hold open


@asynccontextmanager
async def lodging() -> AsyncIterator[Lodging]:
    """One that is removed at the end, when the command line is dead."""
    path = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="trunkline-claude-"))
    found = Lodging(path)
    try:
        await asyncio.to_thread(found.config.mkdir, mode=0o700, parents=True)
        os.mkfifo(path / "breath", 0o600)
        yield found
    finally:
        found.kill()
        await found.deserted()
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


def _walls(lodging: Lodging, cli: Path, workspace: Workspace, *, network: bool) -> list[str]:
    system = [*_SYSTEM, *(_NETWORK if network else ())]
    reads = [word for path in system for word in ("--ro-bind-try", path, path)]
    writes = [
        word
        for path in (workspace.path, lodging.home, lodging.door)
        for word in ("--bind", str(path), str(path))
    ]
    return [
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid"),
        *("--unshare-ipc", "--unshare-uts", *([] if network else ["--unshare-net"])),
        *(*reads, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("--ro-bind", str(cli), "/opt/claude/claude", *writes),
        *("--chdir", str(workspace.path), "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"),
        *("--", "/opt/claude/claude"),
    ]
