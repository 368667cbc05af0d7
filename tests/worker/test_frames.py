from typing import Any

import pytest

from trunkline_shared.events import (
    ActivityArgs,
    ActivityOutput,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.frame import Texts, decode_frame
from trunkline_worker.frames import (
    MAX_DELTA_CHARS,
    MAX_FRAME_BYTES,
    Entry,
    EntryFrame,
    Frame,
    FrameBuffer,
    outcome_of,
    split_delta,
)


def frames_of(*events: RunEvent) -> list[Any]:
    buffer = FrameBuffer("r", 7, 2, "back")
    buffer.add(events)
    return buffer.drain()


def test_a_frame_begins_after_the_attempt_and_its_id_is_epoch_and_last_seq() -> None:
    buffer = FrameBuffer("r", 7, 2, "back")
    buffer.add([TextDelta("a"), TextDelta("b")])
    (first,) = buffer.drain()
    assert (first.run_id, first.stream_id, first.reply) == ("r", "7-4", "back")
    assert decode_frame(first.data) == (3, [TextDelta("a"), TextDelta("b")])
    buffer.add([Finished("stop")])
    (last,) = buffer.drain()
    assert (last.stream_id, last.outcome) == ("7-5", "finished")
    assert buffer.drain() == [] and not buffer


def test_a_frame_knows_whose_attempt_it_is() -> None:
    buffer = FrameBuffer("r", 7, 2, "")
    buffer.add([TextDelta("a")])
    (frame,) = buffer.drain()
    assert frame.source is buffer


@pytest.mark.parametrize(
    "literals", [b"a", b'a","\\n\xc3\xa9","\\u00e9', b'","'.join([b"xyz"] * 60_000)]
)
def test_texts_stand_for_as_many_deltas(literals: bytes) -> None:
    texts = Texts(literals)
    mixed = [TextDelta("first"), texts, ReasoningDelta("hm"), texts, TextDelta("more"), texts]
    single = [one for each in mixed for one in (each if isinstance(each, Texts) else [each])]
    buffer = FrameBuffer("r", 7, 2, "")
    buffer.add(mixed)
    frames = buffer.drain()
    read = [decode_frame(frame.data) for frame in frames]
    assert [event for _, events in read for event in events] == single
    assert [int(frame.stream_id[2:]) for frame in frames] == [
        first + len(events) - 1 for first, events in read
    ]
    assert all(len(frame.data) <= MAX_FRAME_BYTES for frame in frames)


NASTY = ["x", "\x00", "é", "\U0001f600", '"', "\\"]


@pytest.mark.parametrize("char", NASTY)
@pytest.mark.parametrize("count", [MAX_DELTA_CHARS, MAX_DELTA_CHARS + 1, 70_000, 200_000])
def test_a_long_delta_is_split_and_every_frame_stays_small(char: str, count: int) -> None:
    frames = frames_of(TextDelta(char * count), Finished("stop"))
    assert all(len(frame.data) <= MAX_FRAME_BYTES for frame in frames)
    events = [event for frame in frames for event in decode_frame(frame.data)[1]]
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == char * count
    assert [frame.outcome for frame in frames][-1] == "finished"
    assert all(not frame.outcome for frame in frames[:-1])


def test_many_small_events_are_cut_into_frames_without_a_hole() -> None:
    frames = frames_of(*[TextDelta("some words here") for _ in range(20_000)])
    seq = 3
    for frame in frames:
        first_seq, events = decode_frame(frame.data)
        assert first_seq == seq and len(frame.data) <= MAX_FRAME_BYTES
        seq += len(events)
        assert frame.stream_id == f"7-{seq - 1}"
    assert seq == 3 + 20_000


@pytest.mark.parametrize(
    "event",
    [
        TextDelta("y" * 25_000),
        ReasoningDelta("y" * 25_000),
        RefusalDelta("y" * 25_000),
        ToolArgsDelta(3, "y" * 25_000),
        ActivityArgs(3, "y" * 25_000),
        ActivityOutput(3, "y" * 25_000),
    ],
    ids=lambda event: type(event).__name__,
)
def test_every_kind_of_delta_is_split(event: Any) -> None:
    pieces: list[Any] = split_delta(event)
    assert len(pieces) == 3 and {type(piece) for piece in pieces} == {type(event)}
    assert "".join(piece.text for piece in pieces) == event.text
    assert all(getattr(piece, "index", 3) == 3 for piece in pieces)


def test_log_probabilities_are_told_once_however_a_delta_is_split() -> None:
    rows = [{"token": "y", "logprob": -1.0}]
    pieces: list[Any] = split_delta(TextDelta("y" * 25_000, rows))
    assert [piece.logprobs for piece in pieces] == [rows, None, None]


@pytest.mark.parametrize(
    "event",
    [
        TextDelta("x" * 9_000),
        ReasoningDelta("x" * 9_000),
        RefusalDelta("x" * 9_000),
        ToolArgsDelta(0, "x" * 9_000),
        ActivityOutput(0, "x" * 9_000),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_waits_is_weighed_by_its_text(event: RunEvent) -> None:
    buffer = FrameBuffer("r", 7, 2, "")
    buffer.add([event])
    assert buffer.waiting_chars >= 9_000
    buffer.drain()
    assert buffer.waiting_chars == 0


def test_what_is_no_json_is_told_and_the_buffer_goes_on() -> None:
    buffer = FrameBuffer("r", 7, 2, "")
    buffer.add([TextDelta("\ud83d")])
    with pytest.raises(TypeError):
        buffer.drain()
    assert not buffer


def test_the_outcome_is_that_of_the_terminal_event() -> None:
    assert outcome_of(Finished("length")) == "finished"
    assert outcome_of(Failed("cancelled", "x")) == "cancelled"
    assert outcome_of(Failed("server_error", "x")) == "failed"
    assert outcome_of(ToolCallStart(0, "c", "f")) == ""


def test_a_frame_that_brings_an_entry_ends_with_its_event() -> None:
    buffer = FrameBuffer("r", 7, 2, "")
    one, two = Entry(b"one", lambda: None), Entry(b"two", lambda: None)
    buffer.add([TextDelta("a"), Step()])
    buffer.bring(one)
    buffer.add([TextDelta("b")])
    buffer.add([Step()])
    buffer.bring(two)
    buffer.add([TextDelta("c")])
    frames = buffer.drain()
    assert entries_of(frames) == [one, two, None]
    assert [frame.stream_id for frame in frames] == ["7-4", "7-6", "7-7"]
    assert buffer.drain() == []
    buffer.add([TextDelta("d"), Step()])
    buffer.bring(one)
    assert entries_of(buffer.drain()) == [one]


def entries_of(frames: list[Frame]) -> list[Entry | None]:
    return [frame.entry if isinstance(frame, EntryFrame) else None for frame in frames]


def test_an_entry_goes_with_the_last_of_the_frames_that_its_events_take() -> None:
    buffer = FrameBuffer("r", 7, 2, "")
    buffer.add([TextDelta("x" * 100_000), Step()])
    buffer.bring(Entry(b"one", lambda: None))
    *before, last = buffer.drain()
    assert before and set(entries_of(before)) == {None}
    assert isinstance(last, EntryFrame) and decode_frame(last.data)[1][-1] == Step()
