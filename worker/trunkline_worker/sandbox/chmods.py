"""chmod by name, which Landlock does not hold: done for those in the sandbox, where it may be.

A process could otherwise change the modes of all that the worker's user owns. Part of the launcher.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE: Final = "=QIIiIQ6Q"
_ANSWER: Final = "=QqiI"
_CHMOD: Final = 90  # x86-64 alone has it; elsewhere 90 is a call that is never asked about
_HERE: Final = -100  # AT_FDCWD
_PAGE: Final = 4096


def answer(listener: int, writable: Sequence[str]) -> None:
    """Takes one call from a filter's listener and does it if its file lies in `writable`."""
    notice = bytearray(struct.calcsize(_NOTICE))
    with suppress(OSError):  # whoever asked is gone
        fcntl.ioctl(listener, _RECEIVE, notice)
        notice_id, pid, _flags, call, _arch, _at, *arguments = struct.unpack(_NOTICE, notice)
        if call == _CHMOD:
            arguments.insert(0, _HERE)
        try:
            _chmod(pid, arguments, writable)
            code = 0
        except OSError as error:
            code = error.errno or errno.EPERM
        fcntl.ioctl(listener, _SEND, struct.pack(_ANSWER, notice_id, 0, -code, 0))


def _chmod(pid: int, arguments: Sequence[int], writable: Sequence[str]) -> None:
    directory, address, mode = arguments[:3]
    below = _signed(directory)
    base = f"/proc/{pid}/cwd" if below == _HERE else f"/proc/{pid}/fd/{below}"
    # O_PATH opens nothing yet, so that asking about a device or a pipe has no effect on it. What
    # is changed is the file that was looked at, whatever its name leads to by now.
    name = os.open(os.path.join(os.fsencode(base), _text(pid, address)), os.O_PATH | os.O_CLOEXEC)
    try:
        real = os.readlink(f"/proc/self/fd/{name}")
        if not any(real == root or real.startswith(f"{root}/") for root in writable):
            raise PermissionError(errno.EPERM, "outside of the sandbox")
        os.chmod(f"/proc/self/fd/{name}", stat.S_IMODE(mode) & 0o1777)
    finally:
        os.close(name)


def _signed(value: int) -> int:
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def _text(pid: int, address: int) -> bytes:
    """What stands at `address` in the memory of `pid`, up to the first zero."""
    text = b""
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while len(text) < _PAGE:
            at = address + len(text)
            piece, zero, _ = os.pread(memory, _PAGE - at % _PAGE, at).partition(b"\0")
            text += piece
            if zero:
                if not text:
                    raise FileNotFoundError(errno.ENOENT, "no name")
                return text
    finally:
        os.close(memory)
    raise OSError(errno.ENAMETOOLONG, "too long a name")
