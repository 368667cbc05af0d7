"""Landlock, seccomp and prctl, for a process to give up rights of its own.

Part of the launcher, which has nothing but the standard library.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_READ: Final = 0b1101  # execute, read a file, read a directory
_OF_FILES: Final = 0b1100000000000111  # what a rule for a file may grant: no part of a directory
_ALL: Final = (1 << 16) - 1
_DEVICES: Final = 1 << 6 | 1 << 11  # making them, which no rule grants
_MOVE: Final = 1 << 13
_TCP: Final = 0b11  # bind, connect
_CONNECT: Final = 0b10
ABSTRACT, SIGNALS = 1, 2
SCOPING_ABI: Final = 6  # from which on those are there

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _call(what: str, number: int, *arguments: object) -> int:
    return _checked(int(_LIBC.syscall(ctypes.c_long(number), *arguments)), what)


def _prctl(option: int, *values: object) -> None:
    padded = [*values, *[ctypes.c_ulong(0)] * (4 - len(values))]
    _checked(int(_LIBC.prctl(option, *padded)), "prctl")


def die_with(parent: int, signal: int) -> None:
    """Gets `signal` when the thread of `parent` that began this process ends, or at once."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal)


def adopt_orphans() -> None:
    _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def no_new_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))


def become(uid: int) -> None:
    """An ordinary user that nothing else here runs as, with a group of the same number."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1))  # else its own /proc files stay root's


def landlock_abi() -> int:
    """0 where there is none."""
    return max(0, int(_LIBC.syscall(ctypes.c_long(_CREATE_RULESET), None, 0, ctypes.c_long(1))))


def restrict(
    *,
    files: bool = False,
    readable: Iterable[str] = (),
    writable: Iterable[str] = (),
    devices: Iterable[str] = (),
    moves: bool = False,
    tcp: bool = False,
    ports: Iterable[int] = (),
    scope: int = 0,
) -> None:
    """This process, and what it begins, has from now on only these files, if `files`, and
    connects only to these TCP ports, if `tcp`. Of what is not there nothing is granted.

    Needs `moves` without `files` if it is to be followed by one with `files`: a layer that does
    not speak of moving files between directories would forbid it.
    """
    handled = _ALL if files else _MOVE if moves else 0
    attributes = struct.pack("<QQQ", handled, _TCP if tcp else 0, scope)
    ruleset = _call("Landlock", _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for paths, rights in (
            (readable, _READ),
            (writable, _ALL & ~_DEVICES),
            (devices, 1 << 15 | 0b110),
            (("/",) if moves else (), _MOVE),
        ):
            for path in paths:
                _grant(ruleset, path, rights)
        for port in ports:
            rule = struct.pack("<QQ", _CONNECT, port)
            _call("Landlock", _ADD_RULE, ruleset, 2, rule, 0)
        _call("Landlock", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _grant(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        rule = struct.pack("<Qi", rights, beneath)
        _call("Landlock", _ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(beneath)


def _filter(program: bytes) -> tuple[ctypes.Array[ctypes.c_char], bytes]:
    """A `struct sock_fprog`, and what it points at, which must live as long."""
    code = ctypes.create_string_buffer(program, len(program))
    return code, struct.pack("@HP", len(program) // 8, ctypes.addressof(code))


def deny(program: bytes, seccomp: int) -> int:
    """Installs a filter. Returns the descriptor from which its notifications are read."""
    _code, fprog = _filter(program)
    return _call("seccomp", seccomp, ctypes.c_ulong(1), ctypes.c_ulong(8), fprog)


def private_mount(source: str, target: str) -> None:
    """`source` at `target`, for this process and what it begins alone. Needs CAP_SYS_ADMIN."""
    _checked(int(_LIBC.unshare(0x20000)), "unshare")
    private, bind = ctypes.c_ulong(1 << 18 | 1 << 14), ctypes.c_ulong(1 << 12)
    _checked(int(_LIBC.mount(b"none", b"/", None, private, None)), "mount")
    _checked(int(_LIBC.mount(os.fsencode(source), os.fsencode(target), None, bind, None)), "mount")
