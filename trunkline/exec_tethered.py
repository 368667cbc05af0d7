"""Become another program that ends when its parent does: `exec_tethered.py PARENT_PID PROGRAM …`.

Run as a file with `python -I -S`, so that it starts fast and imports nothing of ours. A step
between fork and exec (`preexec_fn`) would do the same, but may deadlock in a process with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, *command = sys.argv[1:]
    os.umask(0o077)  # what it stores is nobody else's to read
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone already")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
