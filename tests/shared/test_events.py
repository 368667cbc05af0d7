from dataclasses import fields
from itertools import permutations, product
from typing import get_args

import pytest

from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Created,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Step,
    TextDelta,
    Texts,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
    decode,
    decode_frame,
    encode,
    encode_frame,
    open_frame,
)

USAGE = Usage(1, 2, 3, 4, 5, 0.25)
ROWS = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
EVERY_KIND: list[RunEvent] = [
    Created(1_700_000_000_000),
    Attempt(1),
    Attempt(2, drop_from=7),
    TextDelta("héllo\n\u2028"),
    TextDelta("a", ROWS),
    ReasoningDelta("because"),
    RefusalDelta("no"),
    ToolCallStart(0, "call_1", "weather"),
    ToolCallStart(1, "call_2", "shell", "custom"),
    ToolArgsDelta(0, '{"city":'),
    Step(),
    ActivityStart(0, "call_3", "read_file", "file_access"),
    ActivityArgs(0, '{"path":'),
    ActivityOutput(0, "its text"),
    ActivityEnd(0),
    ActivityEnd(1, "no such file"),
    Finished("stop"),
    Finished("length", USAGE, "gpt", "limits.max_tokens", "default", "fp_1"),
    Failed("upstream_error", "it broke"),
    Failed("queue_full", "later", "model", 2.5, USAGE),
]


@pytest.mark.parametrize("event", EVERY_KIND, ids=repr)
def test_an_event_comes_back_as_it_went(event: RunEvent) -> None:
    assert decode_frame(encode_frame(1, [event])) == (1, [event])


def test_every_kind_of_event_is_among_those_tested() -> None:
    assert {type(event) for event in EVERY_KIND} == set(get_args(RunEvent))


def test_no_two_kinds_share_a_name() -> None:
    names = {type(event): encode(event)[0] for event in EVERY_KIND}
    assert len(set(names.values())) == len(names)


def test_a_frame_begins_with_the_seq_of_its_first_event() -> None:
    frame = encode_frame(42, [ReasoningDelta("a"), TextDelta("b")])
    assert frame == b'[42,["r","a"],["T","b"]]'
    assert decode_frame(frame) == (42, [ReasoningDelta("a"), TextDelta("b")])


def test_pieces_of_plain_text_that_follow_each_other_share_a_row() -> None:
    events: list[RunEvent] = [TextDelta("a"), TextDelta(""), TextDelta("b", ROWS), TextDelta("c")]
    frame = encode_frame(3, [*events, TextDelta("d"), Finished("stop")])
    assert frame.startswith(b'[3,["T","a",""],["t","b",[')
    assert b'],["T","c","d"],["finished",' in frame
    assert decode_frame(frame) == (3, [*events, TextDelta("d"), Finished("stop")])


def test_a_piece_of_text_in_a_row_of_its_own_is_read_as_well() -> None:
    frame = b'[42,["t","a"],["t","b"]]'
    assert decode_frame(frame) == (42, [TextDelta("a"), TextDelta("b")])


def test_an_event_carries_all_members_but_trailing_defaults() -> None:
    for event in EVERY_KIND:
        left_out = len(fields(event)) - len(encode(event)[1:])
        assert left_out == (1 if isinstance(event, TextDelta) and event.logprobs is None else 0)


def test_a_kind_of_a_newer_version_is_an_error() -> None:
    with pytest.raises(KeyError):
        decode(["hologram", 1])


PIECES = [
    "",
    "a",
    '"',
    ",",
    '","',
    "\\",
    '\\"',
    '"]]',
    '"],["r","',
    "é\u2028\n\t\x00",
    "]x",
    "],[",
    "\\\\",
    '",',
]


LONG = "a text that makes a frame worth a look before it is decoded"


def test_a_frame_that_is_opened_holds_what_it_holds_decoded() -> None:
    texts = [*permutations(PIECES, 3), *((LONG, *two) for two in permutations(PIECES, 2))]
    frames: list[list[RunEvent]] = [[TextDelta(text) for text in three] for three in texts]
    for text, event in product([*PIECES, LONG], EVERY_KIND):
        frames += [[TextDelta(LONG), TextDelta(text), event, event], [event, TextDelta(text)]]
    for events in frames:
        first_seq, opened = open_frame(encode_frame(12, events))
        assert (first_seq, [*opened]) == (12, events)
        assert (len(opened), opened[-1], opened[:1]) == (len(events), events[-1], events[:1])


@pytest.mark.parametrize("quote", ["", '"'])
def test_plain_text_without_quotes_is_not_decoded_until_it_is_read(quote: str) -> None:
    events: list[RunEvent] = [TextDelta("a\\\n"), TextDelta(","), TextDelta(quote), TextDelta(LONG)]
    for more in ([], [Finished("stop")]):
        opened = open_frame(encode_frame(7, [*events, *more]))[1]
        assert isinstance(opened, Texts) is (quote == "")
        assert [*opened] == [*events, *more]


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b'["T","a"]', b'[1,["T","a"', b'[x,["T","a"]]', b'[1,["T","a",2]]x']
)
def test_what_is_no_frame_is_refused_when_it_is_opened(frame: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        open_frame(frame.replace(b"a", LONG.encode()))
