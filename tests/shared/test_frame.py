from itertools import permutations, product

import pytest

from tests.shared.test_events import EVERY_KIND, ROWS
from trunkline_shared.events import Finished, ReasoningDelta, RunEvent, Step, TextDelta
from trunkline_shared.frame import Texts, decode_frame, encode_frame, open_frame


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


def test_every_kind_of_event_crosses_in_a_frame() -> None:
    assert decode_frame(encode_frame(1, EVERY_KIND)) == (1, EVERY_KIND)


def test_texts_in_a_frame_stand_for_as_many_deltas() -> None:
    events = [TextDelta('a"'), Texts(b'b","\\n'), Step(), Texts(b"c"), TextDelta("d")]
    frame = encode_frame(3, events)
    assert frame == b'[3,["T","a\\"","b","\\n"],["step"],["T","c","d"]]'
