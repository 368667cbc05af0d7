"""The directory in which one `serve` at a time keeps its Redis's data."""

import asyncio
import errno
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Self

from trunkline_shared.errors import StartError

LONGEST_SOCKET_PATH = 103  # bytes; what macOS takes, Linux takes 4 more
_SOCKET = "redis.sock"
_LEFTOVER_TIMEOUT_S = 10.0  # a Redis whose serve was killed takes a moment to end


class DataDir:
    """Held from `open` until both `close` was called and whoever inherited `lock` has ended."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.redis = _private(path / "redis")
        self._short: Path | None = None

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Take the directory, made with mode 0700 if it is not there.

        Raises StartError if another `serve` has it, or if this user cannot have it.
        """
        lock = _lock_file(path)
        try:
            await _take(lock, path)
            return cls(path, lock)
        except BaseException:
            os.close(lock)
            raise

    def socket_path(self) -> Path:
        """Where Redis may listen: in a directory that only this user can enter."""
        path = self.redis / _SOCKET
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="trunkline-", dir="/tmp"))
            path.unlink(missing_ok=True)
            path.symlink_to(self._short / _SOCKET)  # for those that look for it
        return self._short / _SOCKET

    def close(self) -> None:
        os.close(self.lock)
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)


def socket_in(path: Path) -> Path:
    """Where the Redis of the `serve` that has the data directory listens, if one runs."""
    socket = path / "redis" / _SOCKET
    return socket.readlink() if socket.is_symlink() else socket


def _lock_file(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error


async def _take(lock: int, path: Path) -> None:
    deadline = time.monotonic() + _LEFTOVER_TIMEOUT_S
    while not _locked(lock, path):
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        if _alive(holder) or time.monotonic() > deadline:
            raise StartError(
                f"the data directory {path} is in use by another serve (pid {holder or 'unknown'}):"
                " stop that one, or give another --data-dir (TRUNKLINE_DATA_DIR)"
            )
        await asyncio.sleep(0.05)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _locked(lock: int, path: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _unusable(path, error) from error
    return True


def _alive(pid: str) -> bool:
    if not pid.isdigit():
        return True  # taken, and not written yet
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _private(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user")
        path.chmod(0o700)
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def _unusable(path: Path, error: OSError) -> StartError:
    return StartError(f"cannot keep data in {path}: {error.strerror}; give another --data-dir")
