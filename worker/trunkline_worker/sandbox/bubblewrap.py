"""The command line of bubblewrap.

Part of the launcher, which has nothing but the standard library.
"""

import os
from typing import Any

from trunkline_worker.sandbox import kernel, seccomp

TEMPORARY = "/.tmp"  # where the workspace's `tmp` always is
_MOUNT_POINT = "/mnt"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    *("alternatives", "ca-certificates", "crypto-policies", "fonts", "group", "host.conf"),
    *("hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types"),
    *("nsswitch.conf", "passwd", "pki", "profile", "profile.d", "protocols", "resolv.conf"),
    *("services", "shells", "ssl", "terminfo", "timezone", "bash.bashrc"),
)
READABLE = (*_SYSTEM, *(f"/etc/{name}" for name in _ETC))


def walls(spec: dict[str, Any]) -> list[str]:
    """What stands before the command. Gives up rights of this process. Raises OSError."""
    home, network = spec["home"], spec["network"]
    source = home
    if spec["uid"] is not None:
        # The directory may lie where only root gets to: it is brought to where all do.
        kernel.private_mount(home, _MOUNT_POINT)
        source = _MOUNT_POINT
        kernel.become(spec["uid"])
    kernel.no_new_privileges()
    filters = _filters(network)
    words = [
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid"),
        *("--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "sandbox"),
        *(() if network is not False else ("--unshare-net",)),
        *("--proc", "/proc", "--dev", "/dev", "--size", str(64 << 20), "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/dev", "--seccomp", str(filters)),
    ]
    for path in READABLE:
        if os.path.islink(path) and path in _SYSTEM:
            words += ("--symlink", os.readlink(path), path)
        else:
            words += ("--ro-bind-try", path, path)
    words += _directories(spec, source)
    # Of the sandbox's own processes alone, so it is set where no others count.
    most = spec["limits"]["processes"]
    bound = f'(ulimit -u {most}) 2>/dev/null && ulimit -u {most} || ulimit -p {most}; exec "$@"'
    words += ("--remount-ro", "/", "--chdir", spec["work"], "--", "/bin/sh", "-c", bound, "sh")
    return words


def _filters(network: seccomp.Network) -> int:
    """Takes away what the network is not to be. Where bubblewrap reads the filter of calls."""
    scoped = network is not False and kernel.landlock_abi() >= kernel.SCOPING_ABI
    if network is not False:
        ports = () if network is True else network
        scope = kernel.ABSTRACT if scoped else 0
        if scope or ports:
            kernel.restrict(tcp=bool(ports), ports=ports, scope=scope)
    filters, wanted = os.pipe()
    unix = scoped or network is False
    os.write(wanted, seccomp.program("bwrap", network, os.uname().machine, unix=unix))
    os.close(wanted)
    os.set_inheritable(filters, True)
    return filters


def _directories(spec: dict[str, Any], source: str) -> list[str]:
    """Those that commands write to come last, so that no way to another leads through them."""
    words: list[str] = []
    if temporary(spec) != "/tmp":
        words += ("--size", str(64 << 20), "--tmpfs", "/tmp")
    for path in spec["readable"]:
        words += ("--ro-bind-try", path, path)
    for path in spec["writable"]:
        words += ("--bind", path, path)
    words += ("--bind", f"{source}/work", spec["work"])
    for path in {TEMPORARY, temporary(spec)}:
        words += ("--bind", f"{source}/tmp", path)
    return words


def temporary(spec: dict[str, Any]) -> str:
    """Where the workspace's `tmp` is to be looked for: at /tmp, if nothing else lies there.

    Else /tmp is an empty one: the way to what is bound below it, which bubblewrap makes, would lead
    through links that an earlier command left in the workspace's.
    """
    paths = (spec["work"], *spec["readable"], *spec["writable"])
    below = any(os.path.abspath(path).split("/")[1:2] == ["tmp"] for path in paths)
    return TEMPORARY if below else "/tmp"
