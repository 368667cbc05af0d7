"""A program that runs another and takes it along when the worker dies, however that happens.

Run by its path, in a process group of its own: `python tether.py PID COMMAND [ARG…]`, where PID is
the worker's. It hands its standard streams on, and nothing of its group outlives it.
"""

import ctypes
import os
import signal
import subprocess
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> int:
    """The command's exit code; 127 if it cannot be started."""
    signal.signal(signal.SIGUSR1, _kill_group)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
    if os.getppid() != parent:
        return 1  # it died before we asked to be told
    signal.signal(signal.SIGTERM, _left_to_the_command)
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    # Held open here, they would keep the other side from seeing that the command closed them.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    code = child.wait()
    _kill_group()
    return code


def _kill_group(*_: Any) -> None:
    os.killpg(0, signal.SIGKILL)


def _left_to_the_command(*_: Any) -> None:
    """It has the signal too, which goes to the group."""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
