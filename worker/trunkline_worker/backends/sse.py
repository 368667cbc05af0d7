"""Server-sent events, incrementally: the parts of lines to `data` lines. Pure."""

from typing import Final

_LINE_BYTES: Final = 32 * 1024 * 1024
_IGNORED: Final = (b":", b"event:", b"id:", b"retry:", b"event", b"id", b"retry")


class EventLines:
    """Every `data` line counts as an event of its own, as all senders of JSON have it.

    `tail`: the parts of a line that has no end yet. `broken`: a line is none that an event stream
    may have, or has no end. Nothing follows it.
    """

    __slots__ = ("_size", "broken", "tail")

    def __init__(self) -> None:
        self.broken = False
        self.tail: list[bytes] = []
        self._size = 0

    def begin(self, part: bytes) -> None:
        """A part of a line that does not end with it."""
        # Joined only when the line ends: a line of many reads would be copied at each.
        if part:
            self.tail.append(part)
            self._size += len(part)
            self.broken = self._size > _LINE_BYTES

    def end(self, part: bytes) -> bytes:
        """The line that ends with this part, if it is a `data` line; else nothing."""
        if self.tail:
            part = b"".join((*self.tail, part))
            self.tail.clear()
            self._size = 0
        if part.startswith(b"data:"):
            return part
        if part and part != b"\r" and not part.startswith(_IGNORED):
            self.broken = True
        return b""
