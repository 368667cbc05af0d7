"""The directory that a run's tools work in."""

import asyncio
import fcntl
import hashlib
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from trunkline_shared.errors import StartError
from trunkline_shared.run import RunRequest

DEFAULT_BYTES: Final = 2 << 30
# Of users that systemd, too, gives out for a while: nobody else has them.
_FIRST_UID: Final = 61184
_UIDS: Final = 4336
_RUN_KEPT_S: Final = 2 * 86_400.0  # what a crash left of a run that keeps nothing
_PATH: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
# du also fails where a file goes while it looks, which hides nothing.
_MEASURE: Final = """
cd -- "$0" || exit
{ du -sk . || find . -type d ! '(' -readable -executable ')' -print -quit; }
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """`path` is absolute, and only this run and its conversation's have it.

    `uid` is the user that its commands run as where the worker is root, and that owns what is in
    it. What is pushed on `ending` is done when the run ends, before the directory goes.
    """

    path: Path
    uid: int | None = None
    max_bytes: int = DEFAULT_BYTES
    ending: AsyncExitStack = field(default_factory=AsyncExitStack, compare=False)

    @property
    def home(self) -> Path:
        """Holds `path`, a `tmp` beside it, and what is kept about it; commands see only the two."""
        return self.path.parent

    async def used_bytes(self) -> int:
        """On the disk. What is deleted but still open is not seen.

        Raises OSError if that is not known, because some of it is hidden.
        """
        du = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _MEASURE, str(self.home)),
            env=_PATH,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # `process_group` is unknown to uvloop
        )
        try:
            said, _ = await du.communicate()
        finally:
            if du.returncode is None:
                os.killpg(du.pid, signal.SIGKILL)
                await du.wait()
        match said.split():
            case [used, _]:
                return int(used) * 1024
        raise OSError("directories in it cannot be read: chmod -R u+rwX them")


class Workspaces:
    """All of those under `root`, which several workers may share.

    A conversation's is kept for `kept_s` after its last run.
    """

    def __init__(
        self, root: Path, *, kept_s: float = 30 * 86_400.0, max_bytes: int = DEFAULT_BYTES
    ) -> None:
        self._root = root.absolute()
        self._kept_s = kept_s
        self._max_bytes = max_bytes

    @asynccontextmanager
    async def open(self, request: RunRequest) -> AsyncIterator[Workspace]:
        """A conversation's own, kept from run to run; else one that ends with the run.

        A run that begins again on this disk, after a crash, finds what it had. Raises StartError.
        """
        kept = bool(request.conversation)
        # Callers choose ids: their digest is a name that leads nowhere else.
        whose = request.principal
        owned = f"{len(whose)} {whose} {request.conversation or request.run_id}"
        digest = hashlib.sha256(owned.encode(errors="surrogatepass")).hexdigest()[:32]
        name = f"{'c' if kept else 'r'}-{digest}"
        async with self._opened(name, keep=kept) as workspace:
            yield workspace

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator[Workspace]:
        """One for a moment, of no run."""
        async with self._opened(f"r-{secrets.token_hex(16)}", keep=False) as workspace:
            yield workspace

    async def sweep(self) -> None:
        """Removes what nobody has used for its time."""
        for home in await asyncio.to_thread(self._old):
            await self._remove_unused(home)

    @asynccontextmanager
    async def _opened(self, name: str, *, keep: bool) -> AsyncIterator[Workspace]:
        home = self._root / name
        try:
            held, uid = await asyncio.to_thread(self._prepare, home)
        except OSError as error:
            raise StartError(
                f"no workspace in {self._root}: {error.strerror or error} (TRUNKLINE_WORKSPACES)"
            ) from error
        try:
            async with AsyncExitStack() as ending:
                yield Workspace(home / "work", uid, self._max_bytes, ending)
        finally:
            os.utime(held)
            os.close(held)
            if not keep:
                await asyncio.shield(self._remove_unused(home))

    def _prepare(self, home: Path) -> tuple[int, int | None]:
        """Makes what is missing and locks it against `sweep`, until what is returned is closed."""
        root = os.geteuid() == 0
        uid = _FIRST_UID + int(home.name[2:10], 16) % _UIDS if root else None
        # As root commands run as another user, who must get through to what is theirs.
        self._root.mkdir(mode=0o711 if root else 0o700, parents=True, exist_ok=True)
        while True:
            home.mkdir(mode=0o700, exist_ok=True)
            held = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_SH)
                if os.path.samestat(os.fstat(held), os.stat(home)):
                    break
            except FileNotFoundError:
                pass  # a sweep was quicker
            os.close(held)
        os.utime(held)
        for name in ("work", "tmp"):
            if not os.path.lexists(home / name):
                os.mkdir(name, 0o700, dir_fd=held)
                if uid is not None:
                    os.chown(name, uid, uid, dir_fd=held, follow_symlinks=False)
        if uid is not None:
            os.chown(held, uid, uid)
        return held, uid

    def _old(self) -> list[Path]:
        now = time.time()
        homes = self._root.glob("[cr]-*") if self._root.is_dir() else ()
        kept_s = {"c": self._kept_s, "r": min(self._kept_s, _RUN_KEPT_S)}
        return [h for h in homes if now - h.lstat().st_mtime > kept_s[h.name[0]]]

    async def _remove_unused(self, home: Path) -> None:
        """Also another attempt of the same run may be in it: the last one to leave removes it."""
        held = None
        try:
            held = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(held), os.stat(home)):
                await _remove(home)
        except (BlockingIOError, FileNotFoundError):
            return  # in use, or gone already
        finally:
            if held is not None:
                os.close(held)


async def _remove(home: Path) -> None:
    # Programs that take trees deeper than a name can be long, and with modes that forbid it.
    script = 'rm -rf -- "$0" 2>/dev/null || { chmod -R u+rwX -- "$0"; rm -rf -- "$0"; }'
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", script, str(home)),
        env=_PATH,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await process.wait()
