"""Files below a directory, and nothing else, whatever others do to the names meanwhile.

Each part of a path is opened from the directory before it and never followed if it is a link:
links are read and walked in the same way, so none leads out. With the standard library alone.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

_LINKS: Final = 40
_PATH_BYTES: Final = 4096
_LEVELS: Final = 64  # each is an open descriptor
_WAY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class NotHere(OSError):
    """The path is none of this directory, or what is there is no plain file of it alone."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EPERM, why)


@dataclass(frozen=True, slots=True)
class Place:
    """A name in an open directory. The name was no link when it was looked at."""

    directory: int
    name: str


@dataclass(frozen=True, slots=True)
class Beneath:
    """`root` is absolute, and nobody else moves it. What is made belongs to `uid`, if that is set.

    All raise OSError.
    """

    root: str
    uid: int | None = None

    @contextmanager
    def at(self, path: str, *, make: bool = False) -> Iterator[Place]:
        """Where `path` leads; `make` makes the directories on the way."""
        walk = _Walk(self, make)
        try:
            yield walk.to(path)
        finally:
            walk.close()

    @contextmanager
    def reading(self, path: str) -> Iterator[int]:
        """A plain file, or a directory, open for reading."""
        with self.at(path) as place:
            looked = os.open(place.name, _LOOK, dir_fd=place.directory)
        try:
            self._check(looked)
            # What was looked at is opened, so that no device is touched, no pipe waited for.
            way = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            file = os.open(f"/proc/self/fd/{looked}", way)
        finally:
            os.close(looked)
        try:
            yield file
        finally:
            os.close(file)

    def replace(self, path: str, content: bytes) -> None:
        """Writes a whole file, or nothing; keeps the mode of the one that it takes the place of."""
        with self.at(path, make=True) as place:
            mode = self._mode_of(place)
            new = f".trunkline-{secrets.token_hex(8)}"
            way = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(new, way, 0o600, dir_fd=place.directory), "wb") as file:
                try:
                    file.write(content)
                    file.flush()
                    if self.uid is not None:
                        os.fchown(file.fileno(), self.uid, self.uid)
                    os.fchmod(file.fileno(), mode)
                    both = {"src_dir_fd": place.directory, "dst_dir_fd": place.directory}
                    os.rename(new, place.name, **both)
                except BaseException:
                    with suppress(FileNotFoundError):
                        os.unlink(new, dir_fd=place.directory)
                    raise

    def _mode_of(self, place: Place) -> int:
        try:
            there = os.open(place.name, _LOOK, dir_fd=place.directory)
        except FileNotFoundError:
            return 0o644
        try:
            self._check(there)
            mode = os.fstat(there).st_mode
        finally:
            os.close(there)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        return mode & 0o777

    def _check(self, looked: int) -> None:
        there = os.fstat(looked)
        if stat.S_ISDIR(there.st_mode):
            return
        if not stat.S_ISREG(there.st_mode):
            raise NotHere("is neither a file nor a directory")
        if there.st_nlink > 1:
            raise NotHere("is a file with several names (hard links), some maybe elsewhere")


class _Walk:
    """The directories from the root to where it has come, all open."""

    def __init__(self, beneath: Beneath, make: bool) -> None:
        self._root, self._uid, self._make = beneath.root, beneath.uid, make
        self._way = [os.open(beneath.root, _WAY)]
        self._links = 0

    def close(self) -> None:
        for directory in self._way:
            os.close(directory)

    def to(self, path: str) -> Place:
        parts = self._parts(path)
        while parts:
            part = parts.pop()
            if part == "..":
                self._back()
            elif (target := self._link(part)) is not None:
                parts += self._parts(target)
            elif not parts:
                return Place(self._way[-1], part)
            else:
                self._enter(part)
        return Place(self._way[-1], ".")

    def _parts(self, path: str) -> list[str]:
        """Last one first. An absolute path begins at the root again, if it lies below it."""
        if "\0" in path:
            raise NotHere("has a zero in its name")
        try:
            length = len(os.fsencode(path))
        except UnicodeEncodeError:
            raise NotHere("is no name that a file can have") from None
        if length > _PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if path.startswith("/"):
            inside = path == self._root or path.startswith(f"{self._root}/")
            if not inside:
                raise NotHere("leads out of the workspace")
            path = path[len(self._root) :]
            while len(self._way) > 1:
                os.close(self._way.pop())
        return [part for part in path.split("/")[::-1] if part not in ("", ".")]

    def _back(self) -> None:
        if len(self._way) == 1:
            raise NotHere("leads out of the workspace")
        os.close(self._way.pop())

    def _link(self, part: str) -> str | None:
        try:
            target = os.readlink(part, dir_fd=self._way[-1])
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise
        self._links += 1
        if self._links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return target

    def _enter(self, part: str) -> None:
        if len(self._way) > _LEVELS:
            raise NotHere(f"lies deeper than {_LEVELS} directories")
        if self._make:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=self._way[-1])
                if self._uid is not None:
                    owner = (self._uid, self._uid)
                    os.chown(part, *owner, dir_fd=self._way[-1], follow_symlinks=False)
        self._way.append(os.open(part, _WAY, dir_fd=self._way[-1]))
