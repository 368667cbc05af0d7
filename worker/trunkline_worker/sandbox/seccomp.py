"""The system calls that what runs in a sandbox may not make, as a BPF program.

Namespaces and Landlock hold files, processes and TCP. This holds what they leave open: other
sockets, other users' and the worker's scheduling and limits, and calls that only widen the surface
of the kernel. The launcher imports it alone, so it needs only the standard library.
"""

import struct
from collections.abc import Iterable
from typing import Final, Literal

Network = bool | tuple[int, ...]
"""None, all, or TCP connections to these ports."""

_AF_UNIX: Final = 1
_AF_INET: Final = 2
_AF_INET6: Final = 10
_AF_NETLINK: Final = 16
_SOCK_STREAM: Final = 1
_IPPROTO_TCP: Final = 6

_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000
_ERRNO: Final = 0x00050000
_EPERM: Final = _ERRNO | 1
_EACCES: Final = _ERRNO | 13
_ENOSYS: Final = _ERRNO | 38
_ENOTSUP: Final = _ERRNO | 95
_LD, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06

_FAST_OPEN: Final = 0x20000000  # MSG_FASTOPEN: connects, and Landlock does not hear of it
_OF_OWNER: Final = 0o6000  # a program runs as whoever owns it
_NEW_SPACES: Final = 0x7E020000  # CLONE_NEWUSER, NEWNS, NEWPID, NEWNET and so on
_Rule = tuple[str, list[bytes]]

# machine: (AUDIT_ARCH, {system call: number})
_SAME: Final = {
    **{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428},
    **{"move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442, "fchmodat2": 452},
    **{"setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469},
}
_X86_64: Final = _SAME | {
    **{"shmget": 29, "socket": 41, "clone": 56, "semget": 64, "msgget": 68, "chmod": 90},
    **{"chown": 92, "lchown": 94, "setpriority": 141, "sched_setparam": 142},
    **{"sched_setscheduler": 144, "pivot_root": 155, "chroot": 161, "acct": 163, "mount": 165},
    **{"umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "init_module": 175},
    **{"delete_module": 176, "quotactl": 179, "setxattr": 188, "lsetxattr": 189},
    **{"removexattr": 197, "lremovexattr": 198, "sched_setaffinity": 203, "mq_open": 240},
    **{"kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "ioprio_set": 251},
    **{"inotify_add_watch": 254, "fchownat": 260, "fchmodat": 268, "unshare": 272},
    **{"perf_event_open": 298, "fanotify_init": 300, "prlimit64": 302, "open_by_handle_at": 304},
    **{"setns": 308, "finit_module": 313, "sched_setattr": 314, "kexec_file_load": 320},
    **{"bpf": 321, "userfaultfd": 323, "sendto": 44, "sendmsg": 46, "listen": 50},
    **{"sendmmsg": 307, "fchmod": 91, "fallocate": 285},
}
_AARCH64: Final = _SAME | {
    **{"setxattr": 5, "lsetxattr": 6, "removexattr": 14, "lremovexattr": 15},
    **{"inotify_add_watch": 27, "ioprio_set": 30, "umount2": 39, "mount": 40, "pivot_root": 41},
    **{"chroot": 51, "fchmodat": 53, "fchownat": 54, "quotactl": 60, "acct": 89, "unshare": 97},
    **{"kexec_load": 104, "init_module": 105, "delete_module": 106, "sched_setparam": 118},
    **{"sched_setscheduler": 119, "sched_setaffinity": 122, "setpriority": 140, "reboot": 142},
    **{"mq_open": 180, "msgget": 186, "semget": 190, "shmget": 194, "socket": 198},
    **{"add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "swapon": 224},
    **{"swapoff": 225, "perf_event_open": 241, "prlimit64": 261, "fanotify_init": 262},
    **{"open_by_handle_at": 265, "setns": 268, "finit_module": 273, "sched_setattr": 274},
    **{"bpf": 280, "userfaultfd": 282, "kexec_file_load": 294, "listen": 201, "sendto": 206},
    **{"sendmsg": 211, "sendmmsg": 269, "fchmod": 52, "fallocate": 47},
}
MACHINES: Final = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}
SECCOMP: Final = {"x86_64": 317, "aarch64": 277}

_NEVER: Final = (
    *("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
    *("mount", "umount2", "pivot_root", "chroot", "open_tree_attr", "unshare", "setns"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "pidfd_getfd", "acct", "swapon"),
    *("swapoff", "reboot", "init_module", "delete_module", "finit_module", "quotactl"),
    *("kexec_load", "kexec_file_load", "add_key", "request_key", "keyctl", "perf_event_open"),
    *("fanotify_init", "open_by_handle_at", "bpf", "userfaultfd"),
)
# What Landlock leaves open, and namespaces close by themselves: things without a file that all of
# the machine shares, and what can be done to a file by its name alone.
_SHARED: Final = (
    *("shmget", "semget", "msgget", "mq_open", "inotify_add_watch"),
    *("chown", "lchown", "fchownat"),
)
_ATTRIBUTES: Final = (
    *("setxattr", "lsetxattr", "removexattr", "lremovexattr", "setxattrat", "removexattrat"),
    "file_setattr",
)
# Of oneself only: (system call, index of the argument that must be 0).
_ONESELF: Final = (
    *(("prlimit64", 0), ("sched_setaffinity", 0), ("sched_setscheduler", 0)),
    *(("sched_setparam", 0), ("sched_setattr", 0), ("ioprio_set", 1)),
    *(("setpriority", 0), ("setpriority", 1)),
)


def program(
    kind: Literal["bwrap", "landlock"], network: Network, machine: str, *, unix: bool
) -> bytes:
    """As `struct sock_filter[]`. `unix` allows sockets of that family.

    With `landlock` a chmod by name is left to whoever holds the filter's listener. Raises OSError.
    """
    if machine not in MACHINES:
        raise OSError(f"the system calls of {machine} are not known")
    audit, calls = MACHINES[machine]
    code = [_load(4), _jump(_JEQ, audit, 1, 0), _give(_ENOSYS), _load(0)]
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        code += [_jump(_JGE, 0x40000000, 0, 1), _give(_ENOSYS)]
    rules = _for_all(network, alone=kind == "bwrap", unix=unix)
    rules += _modes(_NOTIFY if kind == "landlock" else _ALLOW)
    if kind == "landlock":
        rules += _beside_landlock()
    for name, body in rules:
        if name in calls:
            code += [_jump(_JEQ, calls[name], 0, len(body)), *body]
    return b"".join([*code, _give(_ALLOW)])


def _for_all(network: Network, *, alone: bool, unix: bool) -> list[_Rule]:
    return [
        *((name, [_give(_EPERM)]) for name in _NEVER),
        ("clone3", [_give(_ENOSYS)]),  # its flags lie in memory: libc then takes `clone`
        ("clone", _flagged(0, _NEW_SPACES, _EPERM)),
        ("fallocate", [_give(_ENOTSUP)]),  # fills a disk at once; libc then writes zeros
        ("socket", _sockets(network, alone=alone, unix=unix)),
        *(() if isinstance(network, bool) else _past_ports()),
    ]


def _past_ports() -> list[_Rule]:
    """What Landlock's list of ports does not hold: connecting while sending, and listening on a
    port that was not chosen."""
    sends = (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3))
    return [
        ("listen", [_give(_EACCES)]),
        *((name, _flagged(at, _FAST_OPEN, _EACCES)) for name, at in sends),
    ]


def _beside_landlock() -> list[_Rule]:
    return [
        *((name, [_give(_EPERM)]) for name in _SHARED),
        *((name, [_give(_ENOTSUP)]) for name in _ATTRIBUTES),
        *(
            (name, [_load(16 + 8 * at), _jump(_JEQ, 0, 1, 0), _give(_EPERM), _load(0)])
            for name, at in _ONESELF
        ),
    ]


def _modes(by_name: int) -> list[_Rule]:
    """A file that is made with such a mode is empty, and loses it with its first byte."""
    return [
        ("chmod", _flagged(1, _OF_OWNER, _EPERM, by_name)),
        ("fchmodat", _flagged(2, _OF_OWNER, _EPERM, by_name)),
        ("fchmod", _flagged(1, _OF_OWNER, _EPERM)),
        ("fchmodat2", [_give(_ENOSYS)]),
    ]


def _sockets(network: Network, *, alone: bool, unix: bool) -> list[bytes]:
    """Which sockets there are: none at all where there is neither a network nor one of its own."""
    if network is False and not alone:
        return [_give(_EACCES)]
    families = [*([_AF_UNIX] if unix else []), _AF_INET, _AF_INET6]
    if network is False:
        families.append(_AF_NETLINK)
    if network is False or network is True:
        return [_load(16), *_one_of(families, _EACCES), _give(_ALLOW)]
    # Landlock knows TCP's ports only: MPTCP and SCTP are streams too, UDP goes anywhere.
    return [
        *([_load(16), _jump(_JEQ, _AF_UNIX, 0, 1), _give(_ALLOW)] if unix else []),
        *(_load(16), *_one_of([_AF_INET, _AF_INET6], _EACCES)),
        *(_load(24), struct.pack("<HBBI", _AND, 0, 0, 0xF), *_one_of([_SOCK_STREAM], _EACCES)),
        *(_load(32), *_one_of([0, _IPPROTO_TCP], _EACCES), _give(_ALLOW)),
    ]


def _flagged(argument: int, flags: int, action: int, otherwise: int = _ALLOW) -> list[bytes]:
    """The action where any of the flags is set."""
    load = _load(16 + 8 * argument)
    return [load, _jump(_JSET, flags, 0, 1), _give(action), _give(otherwise)]


def _one_of(values: Iterable[int], otherwise: int) -> list[bytes]:
    values = list(values)
    last = len(values)
    return [*(_jump(_JEQ, v, last - i, 0) for i, v in enumerate(values)), _give(otherwise)]


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", _LD, 0, 0, offset)


def _jump(test: int, value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("<HBBI", test, then, otherwise, value)


def _give(action: int) -> bytes:
    return struct.pack("<HBBI", _RET, 0, 0, action)
