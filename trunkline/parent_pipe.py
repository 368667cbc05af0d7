"""A child's end of the pipe by which it notices that its parent is gone."""

import os
import signal
import subprocess
import sys
import threading

FAREWELL_S = 5.0  # from the polite signal to the one that nobody can ignore

# Outlives the leader of the group, to end what that leaves behind; it is of the group itself.
_LAST_ONE = """
import os, signal, sys, time
leader, deadline = os.getppid(), time.monotonic() + float(sys.argv[1])
print(flush=True)
while os.getppid() == leader and time.monotonic() < deadline:
    time.sleep(0.02)
os.killpg(0, signal.SIGKILL)
"""


def end_with_parent(read_end: int) -> None:
    """End this process, and its group, soon after the pipe's other end is closed.

    The kernel closes it however the parent dies. Must be called by the leader of a group.
    """
    os.set_inheritable(read_end, False)  # what we start must not hold it
    threading.Thread(target=_watch, args=(read_end,), name="parent-pipe", daemon=True).start()


def _watch(read_end: int) -> None:
    os.read(read_end, 1)  # nobody ever writes: this returns at the end of the pipe
    try:
        command = [sys.executable, "-I", "-S", "-c", _LAST_ONE, str(FAREWELL_S)]
        last_one = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert last_one.stdout is not None
        last_one.stdout.read(1)  # it watches us
    except OSError:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGTERM)
