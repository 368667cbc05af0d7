"""A run's log without Redis, and the frames that fill it."""

import asyncio
from typing import Any

from trunkline_shared.events import RunEvent
from trunkline_shared.frame import encode_frame


class FakeLog:
    """Answers a relay's commands; `trouble` is raised instead, `gate` holds answers back."""

    def __init__(self) -> None:
        self.entries: list[tuple[bytes, bytes]] = [(b"0-1", b'[1,["created",1]]')]
        self.trouble: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.read: bytes | None = None  # the mark that others read the run
        self.reads = 0

    def add(self, first_seq: int, *events: RunEvent, epoch: int = 5) -> tuple[bytes, bytes]:
        """Appends one frame and returns it as it is pushed."""
        entry = frame(first_seq, *events, epoch=epoch)
        self.entries.append(entry)
        return entry

    async def connected(self) -> None:
        """It always is."""

    async def send(self, *command: Any) -> Any:
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        if command[0] == "HGET":
            return self.read
        if command[0] == "EXISTS":
            return int(bool(self.entries))
        assert command[0] == "XRANGE"
        self.reads += 1
        _, _, at, _, _, count = command
        found = [entry for entry in self.entries if place(entry[0]) >= place(at)]
        return [(stream_id, [b"f", data]) for stream_id, data in found[:count]]


def frame(first_seq: int, *events: RunEvent, epoch: int = 5) -> tuple[bytes, bytes]:
    stream_id = b"%d-%d" % (epoch, first_seq + len(events) - 1)
    return stream_id, encode_frame(first_seq, events)


def place(stream_id: bytes) -> tuple[int, ...]:
    return tuple(map(int, stream_id.split(b"-")))
