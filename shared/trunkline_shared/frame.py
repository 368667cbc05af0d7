"""Frames: how a run's events lie in its log, and come to their reader.

A frame is `[first_seq, row, row, ...]`, where a row is one event, or several pieces of plain text
that follow each other: `["T", text, text, ...]`, each an event of its own. `seq` counts events from
1 and never resets within a run.
"""

from collections.abc import Iterator, Sequence
from typing import Final, final, overload

import orjson

from trunkline_shared.events import RunEvent, TextDelta, decode, encode

_SHORT: Final = 40  # bytes of a frame with a token or two, which are decoded faster than looked at


def encode_frame(first_seq: int, events: "Sequence[RunEvent | Texts]") -> bytes:
    """The bytes of one log entry. A `Texts` among the events stands for as many TextDeltas."""
    if len(events) == 1:  # each token that comes alone
        only = events[0]
        if type(only) is Texts:
            return b'[%d,["T","%b"]]' % (first_seq, only.literals)
        if type(only) is TextDelta and only.logprobs is None:
            return b'[%d,["T",%b]]' % (first_seq, orjson.dumps(only.text))
    return b",".join([b"[%d" % first_seq, *_rows(events)]) + b"]"


def _rows(events: "Sequence[RunEvent | Texts]") -> list[bytes]:
    rows: list[bytes] = []
    texts: list[str | bytes] = []
    # Plain text is nearly all there is: it pays neither for the others nor for rows of its own.
    for event in events:
        if type(event) is TextDelta and event.logprobs is None:
            texts.append(event.text)
        elif type(event) is Texts:
            texts.append(event.literals)
        else:
            if texts:
                rows.append(_text_row(texts))
                texts = []
            rows.append(orjson.dumps(encode(event)))
    if texts:
        rows.append(_text_row(texts))
    return rows


def _text_row(texts: list[str | bytes]) -> bytes:
    if bytes not in map(type, texts):
        return orjson.dumps(["T", *texts])
    literals = [text if type(text) is bytes else orjson.dumps(text)[1:-1] for text in texts]
    return b'["T","%b"]' % b'","'.join(literals)


def decode_frame(frame: bytes) -> tuple[int, list[RunEvent]]:
    """`(first_seq, events)` of one log entry."""
    first_seq, *rows = orjson.loads(frame)
    events: list[RunEvent] = []
    for row in rows:
        if row[0] == "T":
            events += map(TextDelta, row[1:])
        else:
            events.append(decode(row))
    return first_seq, events


@final
class Texts(Sequence[RunEvent]):
    """Plain TextDeltas that nobody has decoded yet, and the events `more` after them.

    `literals` is their JSON between the first quote and the last. No text has a quote in it, so
    that `","` stands between two of them, and from left to right is found nowhere else.
    """

    __slots__ = ("literals", "more")

    def __init__(self, literals: bytes, more: Sequence[RunEvent] = ()) -> None:
        self.literals = literals
        self.more = more

    @property
    def text(self) -> str:
        """All of them as one; `more` is not in it."""
        whole: str = orjson.loads(b'"%b"' % self.literals.replace(b'","', b""))
        return whole

    def __len__(self) -> int:
        return self.literals.count(b'","') + 1 + len(self.more)

    @overload
    def __getitem__(self, index: int) -> RunEvent: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RunEvent]: ...

    def __getitem__(self, index: int | slice) -> RunEvent | Sequence[RunEvent]:
        return [*self][index]

    def __iter__(self) -> Iterator[RunEvent]:
        # Who only looks at the first does not pay for all.
        first, more, rest = self.literals.partition(b'","')
        yield TextDelta(orjson.loads(b'"%b"' % first))
        if more:
            yield from map(TextDelta, orjson.loads(b'["%b"]' % rest))
        yield from self.more


def singly(event: RunEvent | Texts) -> Sequence[RunEvent]:
    """The events that it stands for."""
    return event if isinstance(event, Texts) else [event]


def open_frame(frame: bytes) -> tuple[int, Sequence[RunEvent]]:
    """As `decode_frame`, but plain texts that come first stay JSON if there is no quote in them:
    who renders them can make its bytes of these bytes (0.1 µs a token, not 1.6).
    """
    if len(frame) < _SHORT:
        return decode_frame(frame)
    head, _, rest = frame.partition(b',["T","')
    first_seq = head[1:]
    if first_seq.isdigit():
        literals, _, more = rest.partition(b'"]')
        # Without an escaped quote they open and close by turns, and an even number before this one
        # means that it closes: the row ends here, not a text that begins with a bracket.
        # (`find`, as `in` would first make an error of what is no number.)
        plain = literals.find(b'\\"') < 0 and literals[-1:] != b"\\"
        if plain and literals.count(b'"') % 2 == 0:
            if more == b"]":
                return int(first_seq), Texts(literals)
            return int(first_seq), Texts(literals, decode_frame(b"[0" + more)[1])
    return decode_frame(frame)
