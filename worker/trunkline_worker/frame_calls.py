"""Which calls of scripts write frames, and what they are told. No I/O."""

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from trunkline_shared.scripts import Argument, ScriptName
from trunkline_worker.frames import EntryFrame, Frame

MAX_CALL_FRAMES: Final = 128  # one script call blocks Redis no longer than this takes
MAX_CALL_ENDS: Final = 32  # each costs as much as four frames
MAX_CALL_BYTES: Final = 1 << 20  # of one call of ends, which may bring results of megabytes
_REPLY: Final = attrgetter("reply")


class Call(NamedTuple):
    """One call, which writes these frames."""

    script: ScriptName
    frames: list[Frame]
    arguments: list[Argument]


def calls_of(frames: list[Frame]) -> Iterator[Call]:
    """All of them, those of a run in order: plain frames share calls, and so do ends."""
    plain: list[Frame] = []
    ends: list[Frame] = []
    for frame in frames:
        if isinstance(frame, EntryFrame):
            yield from _appends(plain)
            plain = []
            arguments = [frame.reply, "2", *_written(frame), frame.entry.data]
            yield Call("append", [frame], arguments)
        elif frame.outcome:
            ends.append(frame)  # nothing of its run comes after it
        else:
            plain.append(frame)
    yield from _appends(plain)
    yield from _finishes(ends)


def _appends(plain: list[Frame]) -> Iterator[Call]:
    plain.sort(key=_REPLY)  # each channel is named once; a run has one
    for first in range(0, len(plain), MAX_CALL_FRAMES):
        some = plain[first : first + MAX_CALL_FRAMES]
        arguments: list[Argument] = []
        for reply, frames in groupby(some, _REPLY):
            of_one = [*frames]
            arguments += (reply, "".join(["01"[each.follows] for each in of_one]))
            for frame in of_one:
                arguments += _written(frame)
        yield Call("append", some, arguments)


def _finishes(ends: list[Frame]) -> Iterator[Call]:
    some: list[Frame] = []
    arguments: list[Argument] = []
    size = 0
    for frame in ends:
        told = _end(frame)
        its = sum(len(each) for each in told if isinstance(each, bytes))
        if some and (len(some) == MAX_CALL_ENDS or size + its > MAX_CALL_BYTES):
            yield Call("finish", some, arguments)
            some, arguments, size = [], [], 0
        some.append(frame)
        arguments += told
        size += its
    if some:
        yield Call("finish", some, arguments)


def _written(frame: Frame) -> tuple[Argument, ...]:
    return (frame.run_id, frame.stream_id, frame.data)


def _end(frame: Frame) -> tuple[Argument, ...]:
    assert frame.source is not None
    kept = (frame.source.result, frame.source.turn)
    return (*_written(frame), frame.outcome, *kept, int(frame.follows))
