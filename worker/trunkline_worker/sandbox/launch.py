"""Puts itself behind the walls that it is told, then becomes the command.

Runs as `python -ISc ... SPEC COMMAND...`, on the standard library alone: it starts in some 30 ms
and has not yet loaded a line that a sandboxed process could have written.
"""

import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NoReturn

from trunkline_worker.sandbox import bubblewrap, chmods, kernel, seccomp

REFUSED = 125  # the walls could not be built: nothing was run
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
_PROC = tuple(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "filesystems", "version", "stat"))


def main() -> NoReturn:
    spec: dict[str, Any] = json.loads(sys.argv[1])
    command = sys.argv[2:]
    environ = spec["env"] | {"TMPDIR": f"{spec['home']}/tmp"}
    environ |= {k: v for k, v in os.environ.items() if k in spec["keep"]}
    try:
        kernel.die_with(spec["parent"], signal.SIGKILL)
        _watched(spec, command, environ)
    except OSError as error:
        _refuse(error)


def _watched(spec: dict[str, Any], command: list[str], environ: dict[str, str]) -> NoReturn:
    """This process waits; one below it, out of reach of the sandbox, ends all that is in there as
    soon as the command has ended, or this process has, however that came.
    """
    if spec["kind"] == "landlock" and kernel.landlock_abi() < kernel.SCOPING_ABI:
        raise OSError(f"Landlock with ABI {kernel.SCOPING_ABI} is needed (Linux 6.12)")
    outer = os.getpid()
    watcher = os.fork()
    if watcher == 0:
        try:
            _watch(outer, spec, command, environ)
        except OSError as error:
            _refuse(error)
        finally:
            os._exit(REFUSED)
    _, status = os.waitpid(watcher, 0)
    os._exit(_exit_code(status))


def _watch(outer: int, spec: dict[str, Any], command: list[str], environ: dict[str, str]) -> None:
    os.setsid()  # who ends a whole process group means those that this one is to end
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake)
    os.chdir(spec["work"])
    walled = spec["kind"] == "landlock"
    if walled and spec["uid"] is not None:
        kernel.become(spec["uid"])
    kernel.die_with(outer, signal.SIGTERM)
    kernel.adopt_orphans()
    _limit(spec["limits"])
    writable = [spec["work"], f"{spec['home']}/tmp", *spec["writable"]]
    if walled:  # from here on signals reach only what is in the sandbox, and none comes back
        kernel.no_new_privileges()
        kernel.restrict(moves=True, scope=kernel.SIGNALS)
    ours, theirs = socket.socketpair()
    # bubblewrap counts by itself, and only what is within.
    alone = spec["kind"] == "bwrap"
    child = os.fork() if alone else _fork_counted(spec["limits"]["processes"])
    if child == 0:
        _become_command(spec, writable, command, environ, theirs)
    theirs.close()
    code = REFUSED
    try:
        # The filter is not upon this process, which has calls to make for those that it holds.
        _, listeners, _, _ = socket.recv_fds(ours, 1, 1)
        code = _serve(child, next(iter(listeners), None), woken, writable)
    finally:
        _end_all(_everyone if walled else _children)
        os._exit(code)


def _become_command(
    spec: dict[str, Any],
    writable: list[str],
    command: list[str],
    environ: dict[str, str],
    watcher: socket.socket,
) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        kernel.die_with(os.getppid(), signal.SIGKILL)
        _first_to_die()
        os.setsid()
        match spec["kind"]:
            case "bwrap":
                command = [*bubblewrap.walls(spec), *command]
                environ["TMPDIR"] = bubblewrap.temporary(spec)
            case "landlock":
                _filter_calls(spec["network"], watcher)
                _fence(spec, writable)
        watcher.close()
        if spec["kind"] != "bwrap":
            _set(resource.RLIMIT_NPROC, resource.getrlimit(resource.RLIMIT_NPROC)[0])
    except OSError as error:
        _refuse(error)
    try:
        os.execvpe(command[0], command, environ)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _filter_calls(network: seccomp.Network, watcher: socket.socket) -> None:
    machine = os.uname().machine
    program = seccomp.program("landlock", network, machine, unix=False)
    listener = kernel.deny(program, seccomp.SECCOMP[machine])
    socket.send_fds(watcher, [b"l"], [listener])
    os.close(listener)


def _fence(spec: dict[str, Any], writable: list[str]) -> None:
    network = spec["network"]
    kernel.restrict(
        files=True,
        readable=(*bubblewrap.READABLE, *_PROC, *spec["readable"]),
        writable=writable,
        devices=_DEVICES,
        tcp=network is not True,
        ports=() if isinstance(network, bool) else network,
        scope=kernel.ABSTRACT | kernel.SIGNALS,
    )


def _refuse(error: OSError) -> NoReturn:
    os.write(2, f"The sandbox cannot be built: {error}\n".encode())
    os._exit(REFUSED)


def _serve(child: int, listener: int | None, woken: int, writable: list[str]) -> int:
    """The exit code of the command, when it or the wait for it is over."""
    poll = select.poll()
    if listener is not None:
        poll.register(listener, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener:
                chmods.answer(listener, writable)
            elif signal.SIGTERM in os.read(woken, 4096):
                return 128 + signal.SIGTERM
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    return _exit_code(ended[1])


def _end_all(members: Callable[[], Iterable[int]]) -> None:
    try:
        while True:
            for pid in members():
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _everyone() -> Iterable[int]:
    """All that may be signalled from here, which is the sandbox: at once, and the kernel lets no
    fork through meanwhile."""
    return (-1,)


def _children() -> Iterable[int]:
    """Whose own become ours when they have gone."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    yield int(name)


def _fork_counted(processes: int) -> int:
    """A fork that may have `processes` more than its user has now.

    The kernel counts all of a user's, also those of other containers, which are not seen here.
    """
    limit = _running(os.getuid()) + processes
    while True:
        _set(resource.RLIMIT_NPROC, limit, for_good=False)
        try:
            return os.fork()
        except BlockingIOError:
            limit *= 2


def _running(uid: int) -> int:
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it has ended
    return count


def _first_to_die() -> None:
    """Where memory runs out."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _limit(limits: dict[str, int]) -> None:
    for kind, name in (
        (resource.RLIMIT_DATA, "memory_bytes"),
        (resource.RLIMIT_FSIZE, "file_bytes"),
        (resource.RLIMIT_NOFILE, "open_files"),
        (resource.RLIMIT_CPU, "cpu_s"),
    ):
        _set(kind, limits[name])
    _set(resource.RLIMIT_CORE, 0)


def _set(kind: int, value: int, *, for_good: bool = True) -> None:
    _, hard = resource.getrlimit(kind)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (most, most if for_good else hard))


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
