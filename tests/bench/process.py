"""Processes under measurement: started, watched through /proc and stopped by their ids."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def cpu_s(pid: int) -> float:
    """CPU seconds so far: the scheduler's count where the kernel has it, else 10 ms ticks."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
    except FileNotFoundError:
        ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid: int) -> float:
    """Resident KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0])


@contextmanager
def process(*argv: str, log: Path | None = None, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A child that ends with the block, or with this process. Its errors go to `log`, else ours."""
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("w")) if log else None
        child = subprocess.Popen(
            argv,
            env=_environ(**env),
            stdin=subprocess.PIPE,
            stdout=errors or subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            yield child
        finally:
            _stop(child)


def module(name: str, *argv: str) -> tuple[str, ...]:
    """The command that runs a module in this interpreter."""
    return (sys.executable, "-m", name, *argv)


def port_of(child: subprocess.Popen[str]) -> int:
    """The port that a child prints when it listens."""
    assert child.stdout is not None
    return int(child.stdout.readline())


def _environ(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRUNKLINE_")}
    return {**kept, **more}


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
