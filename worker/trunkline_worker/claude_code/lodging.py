"""Where a run's command line lives: walls, a directory within them, and a way to end it."""

import asyncio
import logging
import os
import secrets
import shlex
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from trunkline_worker.claude_code.progress import Entry
from trunkline_worker.sandbox import bubblewrap
from trunkline_worker.sandbox.beneath import Beneath
from trunkline_worker.sandbox.walls import Sandbox
from trunkline_worker.sandbox.workspace import Workspace

logger = logging.getLogger("trunkline.claude_code")

_DYING_S: Final = 5.0
# What the SDK itself tells the command line, beside what we give it.
_OF_SDK: Final = (
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
)


@dataclass(frozen=True, slots=True)
class Lodging:
    """`program` starts the command line, and is all that the SDK knows. `home` and `config` are
    its own directories as it sees them; to the worker all of that lies in `outside`.

    What the worker trusts lies in `desk`, which nothing within the walls gets at.
    """

    desk: Path
    outside: Path
    inside: Path
    sandbox: Sandbox
    workspace: Workspace

    @property
    def home(self) -> Path:
        return self.inside

    @property
    def config(self) -> Path:
        return self.inside / "config"

    @property
    def program(self) -> Path:
        return self.desk / "claude"

    def furnish(self, cli: Path, variables: Mapping[str, str], *, network: bool, port: int) -> None:
        """Makes `program`: it sees `variables` and nothing of the worker's own. Without `network`
        it reaches `port` of this machine, if that is not 0, and nothing else.
        """
        command = self.sandbox.wrap(
            [str(cli)],
            self.workspace,
            network=network or ((port,) if port else False),
            readable=[cli.parent],
            env=variables,
            keep=_OF_SDK,
        )
        given = [shlex.quote(f"{name}={value}") for name, value in command.env.items()]
        passed = [f'"{name}=${name}"' for name in _OF_SDK]
        start = [*given, *passed, *map(shlex.quote, command.argv)]
        # The number is that of the process that holds all others: `exec` keeps it.
        lines = (
            "#!/bin/sh",
            f"echo $$ >{shlex.quote(str(self._number))}",
            f"exec 9<>{shlex.quote(str(self._breath))}",
            f'exec setsid env -i {" ".join(start)} "$@"',
        )
        self.program.write_text("\n".join(lines))
        self.program.chmod(0o700)

    @property
    def files(self) -> Beneath:
        """What lies in `outside`. What lives within the walls owns all of that, and may swap the
        names there at any moment: the worker takes no other way to them.
        """
        return Beneath(str(self.outside), self.workspace.uid)

    def recall(self, session: str, project: str, entries: Sequence[Entry]) -> None:
        """Lays the record of a session where the command line looks for it. Raises OSError."""
        lines = b"".join(orjson.dumps(entry) + b"\n" for entry in entries)
        self.files.replace(f"config/projects/{project}/{session}.jsonl", lines)

    def kill(self) -> None:
        """Ends the command line and, behind walls, all that it began, at once."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            number = int(self._number.read_text())
            # Behind walls the one process takes all others along; it must not die with them.
            end = os.killpg if self.sandbox.kind == "none" else os.kill
            end(number, signal.SIGKILL)

    async def deserted(self) -> None:
        """Returns when nothing that the command line began is alive, after `kill`."""
        gone = os.open(self._breath, os.O_RDONLY | os.O_NONBLOCK)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            if _is_over(gone):  # of what was over before it was opened, nothing more is heard
                return
            loop.add_reader(gone, lambda: ended.set() if _is_over(gone) else None)
            async with asyncio.timeout(_DYING_S):
                await ended.wait()
        except TimeoutError:
            logger.error("processes of a command line do not end: %s", self.desk)
        finally:
            loop.remove_reader(gone)
            os.close(gone)

    @property
    def _number(self) -> Path:
        return self.desk / "number"

    @property
    def _breath(self) -> Path:
        return self.desk / "breath"  # a pipe that all processes of the command line hold open


@asynccontextmanager
async def lodging(sandbox: Sandbox, workspace: Workspace) -> AsyncIterator[Lodging]:
    """One that is removed at the end, when all that lived in it is dead."""
    desk = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="trunkline-claude-"))
    name = f"claude-{secrets.token_hex(8)}"
    outside = workspace.home / "tmp" / name
    # A short name, because a socket's cannot be long.
    inside = Path(bubblewrap.TEMPORARY, name) if sandbox.kind == "bwrap" else outside
    found = Lodging(desk, outside, inside, sandbox, workspace)
    try:
        await asyncio.to_thread(_prepare, found)
        try:
            yield found
        finally:
            found.kill()
            await found.deserted()
    finally:
        await _remove(found)


def _is_over(pipe: int) -> bool:
    """Whether nobody has the other end; what somebody wrote, for no reason, is dropped."""
    try:
        while os.read(pipe, 65536):
            pass
    except BlockingIOError:
        return False
    return True


def _prepare(found: Lodging) -> None:
    os.mkfifo(found.desk / "breath", 0o600)
    temporary = Beneath(str(found.outside.parent), found.workspace.uid)
    with temporary.at(f"{found.outside.name}/config/projects", make=True):
        pass  # all but the last is made


async def _remove(found: Lodging) -> None:
    # By a program: a deep tree takes a descriptor of ours for each level, or more than there are.
    rm = await asyncio.create_subprocess_exec(
        *("rm", "-rf", "--", str(found.outside), str(found.desk)),
        env={"PATH": "/usr/bin:/bin"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await rm.wait()
