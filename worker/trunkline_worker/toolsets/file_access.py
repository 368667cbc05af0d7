"""The files of a run's workspace: list, read, search, write, edit. No other file is reached."""

import asyncio
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import trunkline_worker
from trunkline_shared.config.toolsets import FileAccess
from trunkline_worker.sandbox.beneath import Beneath
from trunkline_worker.sandbox.search import REFUSED
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.arguments import flag, number, parameters, text
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec

_READ_BYTES: Final = 64 << 10
_SCAN_BYTES: Final = 256 << 20
_CHUNK: Final = 1 << 16
_WRITE_BYTES: Final = 4 << 20
_ENTRIES: Final = 500
_NAMES: Final = 10_000
_SEARCH_S: Final = 20.0
_FOUND_BYTES: Final = 128 << 10  # more than a search says
_SEARCH: Final = (
    "import sys; sys.path.append({where!r}); "
    "from trunkline_worker.sandbox.search import main; main()"
)
_PATH: Final = {"type": "string", "description": "In the workspace."}
_FOLDER: Final = {"type": "string", "description": "A directory of the workspace; '.' if left out."}

T = TypeVar("T")

_READING: Final = (
    ToolSpec(
        "list_directory",
        "List what a directory holds: names, with / behind directories, and sizes in bytes.",
        parameters(path=_FOLDER),
        "pure",
        in_order=True,
    ),
    ToolSpec(
        "read_file",
        f"Read a text file, at most {_READ_BYTES >> 10} KiB at once.",
        parameters(
            ("path",),
            path=_PATH,
            start_line={"type": "integer", "minimum": 1, "description": "1 if left out."},
            lines={"type": "integer", "minimum": 1, "description": "How many; all if left out."},
        ),
        "pure",
        in_order=True,
    ),
    ToolSpec(
        "search",
        "Find files by name, or lines in them. Hidden files count, what is in .git does not.",
        parameters(
            pattern={"type": "string", "description": "A regular expression; none: names only."},
            glob={"type": "string", "description": "Such as *.py or src/**/*.c; all if left out."},
            path=_FOLDER,
        ),
        "pure",
        in_order=True,
    ),
)
_WRITING: Final = (
    ToolSpec(
        "write_file",
        "Write a whole file, with the directories it lies in. One that is there is replaced.",
        parameters(("path", "content"), path=_PATH, content={"type": "string"}),
        "idempotent",
        in_order=True,
    ),
    ToolSpec(
        "edit_file",
        "Replace a piece of a text file. It must stand there exactly as given, and only once "
        "unless `all` is true.",
        parameters(
            ("path", "old", "new"),
            path=_PATH,
            old={"type": "string"},
            new={"type": "string"},
            all={"type": "boolean"},
        ),
        "at_most_once",  # done twice, what was added could stand there twice
        in_order=True,
    ),
)


class Files:
    """Works in the worker's process, but for searches, which have one of their own."""

    name = "file_access"

    def __init__(self, config: FileAccess) -> None:
        self._read_only = config.read_only

    async def open(self) -> None: ...

    async def tools(self) -> Sequence[ToolSpec]:
        return _READING if self._read_only else (*_READING, *_WRITING)

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        workspace = call.workspace
        path = text(arguments, "path", ".")
        files = Beneath(str(workspace.path), workspace.uid)
        match name:
            case "list_directory":
                return await _done(path, lambda: _listed(files, path))
            case "read_file":
                start, most = (int(number(arguments, n, d)) for n, d in _LINES)
                return await _done(path, lambda: _read(files, path, max(start, 1), max(most, 1)))
            case "search":
                glob, pattern = text(arguments, "glob", "*"), text(arguments, "pattern", "")
                return await _search(files, path, glob, pattern)
        if not self._read_only:
            await _check_room(workspace)
            match name:
                case "write_file":
                    content = _encoded(text(arguments, "content"))
                    await _done(path, lambda: files.replace(path, content))
                    return f"{len(content)} bytes are written to {path}."
                case "edit_file":
                    old, new = text(arguments, "old"), text(arguments, "new")
                    everywhere = flag(arguments, "all")
                    return await _done(path, lambda: _edit(files, path, old, new, everywhere))
        raise ToolError(f"There is no tool {name}.")

    async def aclose(self) -> None: ...


_LINES: Final = (("start_line", 1), ("lines", sys.maxsize))


async def _done(path: str, work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise ToolError(f"{path}: {error.strerror}") from error


def _listed(files: Beneath, path: str) -> str:
    with files.reading(path) as directory:
        if not stat.S_ISDIR(os.fstat(directory).st_mode):
            raise ToolError(f"{path}: is a file; read it")
        with os.scandir(
            directory
        ) as entries:  # one by one: all of a huge one would hold the loop up
            names = sorted(entry.name for entry in islice(entries, _NAMES))
        lines = [_entry(directory, name) for name in names[:_ENTRIES]]
    if len(names) > _ENTRIES:
        least = "at least " if len(names) == _NAMES else ""
        lines.append(f"[{least}{len(names) - _ENTRIES} more]")
    return "\n".join(lines) or "[empty]"


def _entry(directory: int, name: str) -> str:
    shown = name.encode(errors="replace").decode()
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return shown
    if stat.S_ISDIR(there.st_mode):
        return f"{shown}/"
    return f"{shown} (link)" if stat.S_ISLNK(there.st_mode) else f"{shown} {there.st_size}"


def _read(files: Beneath, path: str, start: int, most: int) -> str:
    with files.reading(path) as descriptor:
        size = _size(descriptor, path)
        with os.fdopen(os.dup(descriptor), "rb") as file:
            if b"\0" in file.peek(8192)[:8192]:
                raise ToolError(f"{path}: is not a text ({size} bytes)")
            if not _skip(file, start - 1):
                raise ToolError(f"{path}: has no line {start} that can be reached")
            taken, count, room = [], 0, _READ_BYTES
            while count < most and room > 0 and (line := file.readline(room)):
                taken.append(line)
                room -= len(line)
                count += line.endswith(b"\n")
            rest = size - file.tell()
    said = b"".join(taken).decode(errors="replace")
    return f"{said}\n[{rest} bytes follow, after line {start + count - 1}]" if rest > 0 else said


def _skip(file: BufferedReader, lines: int) -> bool:
    """Whether there were so many in the first of its bytes."""
    scanned = 0
    while lines and scanned <= _SCAN_BYTES:
        chunk = file.read(_CHUNK)
        if not chunk:
            return False
        scanned += len(chunk)
        there = chunk.count(b"\n")
        if there >= lines:
            rest = chunk.split(b"\n", lines)[lines]
            file.seek(-len(rest), os.SEEK_CUR)
        lines -= min(there, lines)
    return not lines


def _size(descriptor: int, path: str) -> int:
    there = os.fstat(descriptor)
    if stat.S_ISDIR(there.st_mode):
        raise ToolError(f"{path}: is a directory; list it")
    return there.st_size


def _edit(files: Beneath, path: str, old: str, new: str, everywhere: bool) -> str:
    with files.reading(path) as descriptor:
        if _size(descriptor, path) > _WRITE_BYTES:
            raise ToolError(f"{path}: is too long to edit ({_WRITE_BYTES >> 20} MiB at most)")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(_WRITE_BYTES)
    piece = _encoded(old)
    count = content.count(piece) if piece else 0
    if count == 0:
        raise ToolError(f"{path}: the old text does not stand in it exactly so")
    if count > 1 and not everywhere:
        raise ToolError(f"{path}: the old text stands in it {count} times; give more of it")
    other = _encoded(new)
    if len(content) + count * (len(other) - len(piece)) > _WRITE_BYTES:
        raise ToolError(f"{path}: would be longer than {_WRITE_BYTES >> 20} MiB")
    files.replace(path, content.replace(piece, other))
    return f"{path}: {count} {'place is' if count == 1 else 'places are'} changed."


def _encoded(content: str) -> bytes:
    data = content.encode(errors="replace")
    if len(data) > _WRITE_BYTES:
        raise ToolError(f"That is more than {_WRITE_BYTES >> 20} MiB.")
    return data


async def _check_room(workspace: Workspace) -> None:
    try:
        used = await workspace.used_bytes()
    except OSError as error:
        raise ToolError(f"How much the workspace holds is not known: {error}") from error
    if used > workspace.max_bytes:
        raise ToolError("The workspace is full: remove something first.")


async def _search(files: Beneath, path: str, glob: str, pattern: str) -> str:
    await _done(path, lambda: _reached(files, path))
    where = str(Path(next(iter(trunkline_worker.__path__))).parent)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-ISc", _SEARCH.format(where=where)),
            *(files.root, path.removeprefix(files.root), glob, pattern, str(os.getpid())),
            env={},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (OSError, ValueError) as error:
        raise ToolError(f"The search cannot be made: {error}") from error
    try:
        async with asyncio.timeout(_SEARCH_S):
            said = await _read_all(process)
    except TimeoutError:
        raise ToolError(f"The search took longer than {_SEARCH_S:g} s; narrow it.") from None
    finally:
        if process.returncode is None:
            process.kill()
    text = said.decode(errors="replace").rstrip()
    if process.returncode:
        why = text.rpartition("\n")[2] if process.returncode == REFUSED else ""
        raise ToolError(why or "The search was ended: narrow it.")
    return text or "Nothing is found."


async def _read_all(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    try:
        said = await process.stdout.readexactly(_FOUND_BYTES)
    except asyncio.IncompleteReadError as whole:
        said = whole.partial
    await process.wait()
    return said


def _reached(files: Beneath, path: str) -> None:
    with files.reading(path):
        pass
