"""Frames as calls: what shares one, and in which order."""

from trunkline_shared.events import Finished, Step, TextDelta
from trunkline_worker.frame_calls import (
    MAX_CALL_BYTES,
    MAX_CALL_ENDS,
    MAX_CALL_FRAMES,
    Call,
    calls_of,
)
from trunkline_worker.frames import Entry, Frame, FrameBuffer


def said(run_id: str, reply: str, *, ends: bool = False) -> list[Frame]:
    buffer = FrameBuffer(run_id, 7, 2, reply)
    buffer.add([TextDelta("x")])
    frames = buffer.drain()
    if ends:
        buffer.result, buffer.turn = b"result", b"turn"
        buffer.add([Finished("stop")])
        frames += buffer.drain()
    return frames


def shape(calls: list[Call]) -> list[tuple[str, list[str]]]:
    return [(call.script, [frame.run_id for frame in call.frames]) for call in calls]


def test_plain_frames_share_a_call_by_reader_and_ends_share_one_after_it() -> None:
    frames = [*said("a", "one", ends=True), *said("b", "two"), *said("c", "one", ends=True)]
    frames[2].follows = True
    calls = [*calls_of(frames)]
    assert shape(calls) == [("append", ["a", "c", "b"]), ("finish", ["a", "c"])]
    text = b'[3,["T","x"]]'
    assert calls[0].arguments == [
        *("one", "00", "a", "7-3", text, "c", "7-3", text),
        *("two", "1", "b", "7-3", text),
    ]
    assert calls[1].arguments[3:9] == ["finished", b"result", b"turn", 0, "c", "7-4"]


def test_what_brings_an_entry_has_its_own_call_between_what_its_run_said() -> None:
    buffer = FrameBuffer("a", 7, 2, "one")
    buffer.add([TextDelta("x"), Step()])
    buffer.bring(Entry(b"entry", lambda: None))
    buffer.add([TextDelta("y")])
    calls = [*calls_of([*said("b", "one"), *buffer.drain(), *said("c", "one")])]
    assert shape(calls) == [("append", ["b"]), ("append", ["a"]), ("append", ["a", "c"])]
    assert calls[1].arguments[:2] == ["one", "2"] and calls[1].arguments[-1] == b"entry"


def test_no_call_blocks_redis_for_long() -> None:
    frames = [frame for n in range(130) for frame in said(str(n), "one", ends=True)]
    counts = [(call.script, len(call.frames)) for call in calls_of(frames)]
    assert counts[:2] == [("append", MAX_CALL_FRAMES), ("append", 130 - MAX_CALL_FRAMES)]
    assert [count for script, count in counts if script == "finish"] == [MAX_CALL_ENDS] * 4 + [2]


def test_nothing_is_no_call() -> None:
    assert [*calls_of([])] == []


def test_ends_that_bring_megabytes_have_calls_of_their_own() -> None:
    frames = [frame for name in "abc" for frame in said(name, "one", ends=True)]
    frames[3].source.result = b"x" * MAX_CALL_BYTES  # type: ignore[union-attr]  # it has one
    shapes = shape([*calls_of(frames)])
    assert shapes[1:] == [("finish", ["a"]), ("finish", ["b"]), ("finish", ["c"])]
