"""How much one run may record. No I/O."""

from collections.abc import Sequence
from typing import Final

FULL: Final = b""  # as the last entry: the run went on without its journal


class Journal:
    """What of a run's steps goes into Redis: all, or from some point on nothing.

    A journal with a hole would have a later attempt do again what is done, so that one that is full
    ends recovery: `claim` ends such a run as `worker_lost`.
    """

    def __init__(self, max_bytes: int) -> None:
        self.full = False
        self._left = max_bytes

    def read(self, entries: Sequence[bytes]) -> Sequence[bytes]:
        """The entries of earlier attempts, which take their room."""
        self._left -= sum(map(len, entries))
        return entries

    def admit(self, entry: bytes) -> bytes | None:
        """What is to be stored: the entry, `FULL` in place of the first that has no room, then
        nothing. Raises ValueError for an empty one, which would say `FULL`.
        """
        if not entry:
            raise ValueError("an empty journal entry")
        if self.full:
            return None
        self._left -= len(entry)
        self.full = self._left < 0
        return FULL if self.full else entry
