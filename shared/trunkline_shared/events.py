"""Run events: what a run emits, and their compact form in the log.

An event crosses Redis as a JSON array whose first member names its kind. A frame is
`[first_seq, row, row, ...]`, where a row is one event, or several pieces of plain text that follow
each other: `["T", text, text, ...]`, each an event of its own. `seq` counts events from 1 and never
resets within a run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, overload

import orjson

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(slots=True)  # not frozen, as others here: that costs a microsecond each
class Usage:
    """Tokens and cost of one run. `cost` is in US dollars and None when the price is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None


@dataclass(slots=True)
class Created:
    """The run exists. Always the first event, written by `submit` as entry `0-1`."""

    at_ms: int


@dataclass(slots=True)
class Attempt:
    """A worker took the run. Readers drop every event with `seq >= drop_from`, if that is set."""

    number: int
    drop_from: int | None = None


@dataclass(slots=True)  # not frozen: that costs 0.2 µs a token
class TextDelta:
    """A piece of the answer. `logprobs` holds OpenAI's per-token rows when they were asked for."""

    text: str
    logprobs: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """The model calls one of the caller's tools. `index` counts the calls of the run from 0."""

    index: int
    call_id: str
    name: str
    kind: Literal["function", "custom"] = "function"


@dataclass(frozen=True, slots=True)
class ToolArgsDelta:
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the run is done and recorded: what was said before will not be said again."""


@dataclass(frozen=True, slots=True)
class ActivityStart:
    """The agent calls one of its own tools. `index` counts these calls of the run from 0."""

    index: int
    call_id: str
    name: str
    toolset: str


@dataclass(frozen=True, slots=True)
class ActivityArgs:
    """A piece of the arguments, which are JSON as a whole."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ActivityOutput:
    """A piece of what the tool gave back, or gives while it works."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ActivityEnd:
    """`error` says why the call failed; None: it did not."""

    index: int
    error: str | None = None


@dataclass(slots=True)
class Finished:
    """The run ended whole. `detail` says why it was cut short, where a limit of ours did it."""

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    detail: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended with an error; `code` is a member of `trunkline_shared.errors.FailureCode`."""

    code: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None
    usage: Usage | None = None


Activity: TypeAlias = ActivityStart | ActivityArgs | ActivityOutput | ActivityEnd
RunEvent: TypeAlias = (
    Created
    | Attempt
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallStart
    | ToolArgsDelta
    | Step
    | Activity
    | Finished
    | Failed
)
Terminal: TypeAlias = Finished | Failed

# The scripts know these names, and `T`: `claim` looks for the deltas, `finish` writes terminal
# events.
_KINDS: dict[str, type[RunEvent]] = {
    "created": Created,
    "attempt": Attempt,
    "t": TextDelta,
    "r": ReasoningDelta,
    "refusal": RefusalDelta,
    "call": ToolCallStart,
    "args": ToolArgsDelta,
    "step": Step,
    "act": ActivityStart,
    "act_args": ActivityArgs,
    "act_out": ActivityOutput,
    "act_end": ActivityEnd,
    "finished": Finished,
    "failed": Failed,
}


_SHORT = 40  # bytes of a frame with a token or two, which are decoded faster than looked at

_KIND_OF = {event: kind for kind, event in _KINDS.items()}


def encode(event: RunEvent) -> list[Any]:
    """The event as a JSON-ready list. The deltas, which are most of all events, come first."""
    match event:
        case TextDelta(text, None):
            return ["t", text]
        case ReasoningDelta(text):
            return ["r", text]
        case ToolArgsDelta(index, text):
            return ["args", index, text]
        case Finished(reason, usage):
            rest = (event.model, event.detail, event.service_tier, event.system_fingerprint)
            return ["finished", reason, _row(usage), *rest]
    kind = _KIND_OF[type(event)]
    return [kind, *(_value(getattr(event, name)) for name in event.__dataclass_fields__)]


def decode(row: Sequence[Any]) -> RunEvent:
    """The event of one row. Raises KeyError for a kind this version does not know."""
    kind, *values = row
    if kind == "finished":
        values[1] = Usage(*values[1])
    elif kind == "failed" and len(values) > 4 and values[4] is not None:
        values[4] = Usage(*values[4])
    return _KINDS[kind](*values)


def encode_frame(first_seq: int, events: "Sequence[RunEvent | Texts]") -> bytes:
    """The bytes of one log entry. A `Texts` among the events stands for as many TextDeltas."""
    first = events[0] if len(events) == 1 else None
    if type(first) is TextDelta and first.logprobs is None:  # each token that comes alone
        return b'[%d,["T",%b]]' % (first_seq, orjson.dumps(first.text))
    rows = [b"[%d" % first_seq]
    texts: list[str | bytes] = []
    # Plain text is nearly all there is: it pays neither for the others nor for rows of its own.
    for event in events:
        if type(event) is TextDelta and event.logprobs is None:
            texts.append(event.text)
        elif type(event) is Texts:
            texts.append(event.literals)
        else:
            assert not isinstance(event, Texts)
            if texts:
                rows.append(_text_row(texts))
                texts = []
            rows.append(orjson.dumps(encode(event)))
    if texts:
        rows.append(_text_row(texts))
    return b",".join(rows) + b"]"


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


class Texts(Sequence[RunEvent]):
    """Plain TextDeltas that nobody has decoded yet, and the events `more` after them.

    `literals` is their JSON between the first quote and the last. No text has a quote in it, so
    that `","` stands between two of them, and from left to right is found nowhere else.
    """

    __slots__ = ("literals", "more")

    def __init__(self, literals: bytes, more: Sequence[RunEvent] = ()) -> None:
        self.literals = literals
        self.more = more

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
        plain = b'\\"' not in literals and literals[-1:] != b"\\"
        if plain and literals.count(b'"') % 2 == 0:
            if more == b"]":
                return int(first_seq), Texts(literals)
            return int(first_seq), Texts(literals, decode_frame(b"[0" + more)[1])
    return decode_frame(frame)


def _value(value: Any) -> Any:
    return _row(value) if isinstance(value, Usage) else value


def _row(usage: Usage) -> list[Any]:
    return [getattr(usage, name) for name in usage.__dataclass_fields__]
