"""Server-sent events, incrementally: bytes as the socket gives them to the data of each event."""

from typing import Final

_LINE_BYTES: Final = 32 * 1024 * 1024
_IGNORED: Final = (b":", b"event:", b"id:", b"retry:", b"event", b"id", b"retry")


class EventLines:
    """Every `data` line counts as an event of its own, as all senders of JSON have it.

    `broken`: a line is none that an event stream may have, or has no end. Nothing follows it.
    """

    __slots__ = ("_size", "_tail", "broken")

    def __init__(self) -> None:
        self.broken = False
        self._tail: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the lines that are whole by now."""
        lines = data.split(b"\n")
        rest = lines.pop()
        if not lines:
            self._keep(rest)
            return []
        if self._tail:
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail.clear()
            self._size = 0
        if rest:
            self._keep(rest)
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                found.append(line[5:])
            elif line and line != b"\r" and not line.startswith(_IGNORED):
                self.broken = True
                break
        return found

    def _keep(self, part: bytes) -> None:
        # Joined only when the line ends: a line of many reads would be copied at each.
        self._tail.append(part)
        self._size += len(part)
        if self._size > _LINE_BYTES:
            self.broken = True
