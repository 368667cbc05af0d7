"""Which walls there are on this machine, and commands put behind them."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

import trunkline_worker
from trunkline_shared.errors import StartError
from trunkline_worker.backends.base import Unavailable
from trunkline_worker.sandbox.seccomp import Network
from trunkline_worker.sandbox.workspace import Workspace, Workspaces

Kind = Literal["bwrap", "landlock", "none"]

_LAUNCH: Final = (
    "import sys; sys.path.append({where!r}); "
    "from trunkline_worker.sandbox.launch import main; main()"
)
_PROBE: Final = """
cd "$PWD" 2>/dev/null || {
    echo "commands cannot get to $PWD: put TRUNKLINE_WORKSPACES where every user may go" >&2
    exit 1
}
: >"$TMPDIR/probe" && : >"$HOME/probe" && exec true
"""
_PROBE_S: Final = 30.0
_BASE: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "GIT_CONFIG_NOSYSTEM": "1",  # one that may not be read stops git
}


class NoSandbox(Unavailable):
    """No walls of the wanted kind can be built here; `str()` says why, and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one command. Memory counts per process, and what several share does not."""

    processes: int = 256
    memory_bytes: int = 4 << 30
    file_bytes: int = 2 << 30
    open_files: int = 4096
    cpu_s: int = 3600


@dataclass(frozen=True, slots=True)
class Command:
    """What to start, in a session of its own, with nothing of the worker's environment.

    What is appended to `argv` is an argument of the command. Killing the process, also with
    SIGKILL, ends the command and all that it began.
    """

    argv: list[str]
    env: dict[str, str] = field(repr=False)
    cwd: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    kind: Kind

    def wrap(
        self,
        argv: Sequence[str],
        workspace: Workspace,
        *,
        network: Network = False,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        keep: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> Command:
        """`argv` behind the walls: it reads the system's programs and `readable`, and writes the
        workspace, its temporary directory and `writable`.

        It sees `env`, and of what else it is started with the variables that `keep` names.
        `network` is nothing, all, or TCP connections to some ports. The thread that starts the
        command must live as long as it: they die together.
        """
        given = dict(env or {})
        spec = {
            "kind": self.kind,
            "parent": os.getpid(),
            "uid": workspace.uid,
            "home": str(workspace.home),
            "work": str(workspace.path),
            "network": network,
            "readable": [str(path) for path in readable],
            "writable": [str(path) for path in writable],
            "limits": asdict(limits or Limits(file_bytes=workspace.max_bytes)),
            "env": {**_BASE, "HOME": str(workspace.path)},
            "keep": [*given, *keep],
        }
        # Secrets among the variables stay out of the arguments, which others can read.
        where = str(Path(next(iter(trunkline_worker.__path__))).parent)
        start = [sys.executable, "-ISc", _LAUNCH.format(where=where), json.dumps(spec)]
        search = {"PATH": os.defpath + ":/usr/sbin:/usr/local/bin"}
        return Command([*start, *argv], search | given, str(workspace.path))


class Sandboxes:
    """What works here, found out by trying, once."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces
        self._trying = asyncio.Lock()
        self._tried: dict[Kind, str] = {"none": ""}

    async def find(self, wanted: Literal["auto"] | Kind) -> Sandbox:
        """The sandbox of that kind; auto is bwrap if that works, else landlock, never none.

        Raises NoSandbox.
        """
        kinds: tuple[Kind, ...] = ("bwrap", "landlock") if wanted == "auto" else (wanted,)
        async with self._trying:
            for kind in kinds:
                if kind not in self._tried:
                    self._tried[kind] = await self._try(kind)
                if not self._tried[kind]:
                    return Sandbox(kind)
        why = "; ".join(f"{kind}: {self._tried[kind]}" for kind in kinds)
        raise NoSandbox(f"No sandbox for its tools works here ({why}).")

    async def _try(self, kind: Kind) -> str:
        """Why it does not work; empty: it does."""
        try:
            async with self._workspaces.scratch() as workspace:
                command = Sandbox(kind).wrap(["/bin/sh", "-c", _PROBE], workspace)
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    env=command.env,
                    cwd=command.cwd,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                )
                try:
                    async with asyncio.timeout(_PROBE_S):
                        _, said = await process.communicate()
                finally:
                    if process.returncode is None:
                        process.kill()
        except (OSError, TimeoutError, StartError) as error:
            return str(error) or f"no answer in {_PROBE_S:g} s"
        if process.returncode == 0:
            return ""
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"a trial ended with {process.returncode}"
