"""An environment of each peer's own, made once from its lock, with every hash required."""

import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / ".bench-peers"
PYTHON = "python3.13"  # the locks are for this one: AgentPool takes no older


class Unavailable(Exception):
    """Why a peer cannot be measured here."""


def lock_of(peer: str) -> Path:
    return HERE / f"{peer}.lock"


def pins(lock: Path) -> dict[str, str]:
    """Version by package."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    named = (line.split()[0].split("==") for line in lines if not line.startswith(" "))
    return {name: version for name, version in named}


def install(peer: str, python: str | None = None) -> None:
    """Make the peer's environment with `python`, when it is not there as locked."""
    made = FOLDER / peer / "lock.sha256"
    lock = lock_of(peer)
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not made.is_file() or made.read_text() != digest:
        _make(FOLDER / peer, lock, python or PYTHON)
        made.write_text(digest)


def program(peer: str, name: str) -> str:
    """The path of a program in an environment that is installed."""
    return str(FOLDER / peer / "bin" / name)


def _make(folder: Path, lock: Path, python: str) -> None:
    check_python(python)
    shutil.rmtree(folder, ignore_errors=True)
    _run(python, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install")
    if "setuptools" in pins(lock):
        # For what comes as source: by what is locked, not by what a build would fetch for itself.
        first = folder / "build.lock"
        first.write_text(entry(lock, "setuptools"))
        _run(*pip, "--quiet", "--require-hashes", "-r", str(first))
    _run(*pip, "--quiet", "--require-hashes", "--no-build-isolation", "-r", str(lock))


def check_python(python: str) -> None:
    """`Unavailable` unless it is the one that the locks are for."""
    # A name on PATH may be a shim that has no interpreter behind it: ask it, do not look for it.
    asked = "import sys; print('python%d.%d' % sys.version_info[:2])"
    try:
        said = _run(python, "-c", asked).strip()
    except Unavailable:
        said = "none that starts"
    if said != PYTHON:
        raise Unavailable(f"{PYTHON} is needed, but {python} is {said}: --python names another")


def entry(lock: Path, package: str) -> str:
    """A package's own lines in a lock."""
    _, _, rest = lock.read_text(encoding="utf-8").partition(f"{package}==")
    lines = rest.splitlines(keepends=True)
    end = next((i for i, line in enumerate(lines) if not line.endswith("\\\n")), len(lines))
    return f"{package}==" + "".join(lines[: end + 1])


def _run(*argv: str) -> str:
    try:
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    except OSError as error:
        raise Unavailable(str(error)) from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip()[-600:]
        raise Unavailable(f"`{' '.join(argv[:4])} …` failed: {said}") from error
