"""Run events: what a run emits, and their compact form in the log.

An event crosses Redis as a JSON array whose first member names its kind, in frames: `frame.py`.

While a deployment is upgraded old and new processes read each other's events. So an event, and
`Usage`, may grow: by fields at its end, with defaults, which who does not know them passes over. No
field may change its place or its meaning, and a new kind of event ends the streams of old readers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, TypeAlias

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

    def plus(self, other: "Usage") -> "Usage":
        """Both together; the cost is known if that of each part is, and no tokens cost nothing."""
        costs = [each.cost for each in (self, other) if each.input_tokens or each.output_tokens]
        known = [cost for cost in costs if cost is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            sum(known) if known and len(known) == len(costs) else None,
        )


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
    """A piece of what the model thinks; or, with `summary`, of a part of what its provider tells
    of that: another number is another part.
    """

    text: str
    summary: int | None = None


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


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was said before was summed up; `content` is a sealed `compaction_seal.Compaction`, or a
    piece of it if there is `more` to come.
    """

    content: str
    more: bool = False


@dataclass(slots=True)
class Finished:
    """The run ended whole. `detail` says why it was cut short, where a limit of ours did it.

    `at_ms` is the Unix time in ms of a run that is stored, 0 of any other: whoever renders its log
    tells the same, whenever.
    """

    reason: FinishReason
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    detail: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    at_ms: int = 0


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
    | Compacted
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
    "compacted": Compacted,
    "finished": Finished,
    "failed": Failed,
}


_KIND_OF = {event: kind for kind, event in _KINDS.items()}
_SIZES = {kind: len(event.__dataclass_fields__) for kind, event in _KINDS.items()}
_USAGE_SIZE = len(Usage.__dataclass_fields__)
_counts_of = attrgetter(*Usage.__dataclass_fields__)


def encode(event: RunEvent) -> list[Any]:
    """The event as a JSON-ready list. The deltas, which are most of all events, come first."""
    match event:
        case TextDelta(text, None):
            return ["t", text]
        case ReasoningDelta(text, None):
            return ["r", text]
        case ToolArgsDelta(index, text):
            return ["args", index, text]
        case Finished():
            row = ["finished", event.reason, _row(event.usage), event.model, event.detail]
            row += (event.service_tier, event.system_fingerprint)
            return [*row, event.at_ms] if event.at_ms else row
    kind = _KIND_OF[type(event)]
    return [kind, *(_value(getattr(event, name)) for name in event.__dataclass_fields__)]


def decode(row: Sequence[Any]) -> RunEvent:
    """The event of one row. Raises KeyError for a kind this version does not know."""
    kind, *values = row
    if kind == "finished":
        values[1] = Usage(*values[1][:_USAGE_SIZE])
    elif kind == "failed" and len(values) > 4 and values[4] is not None:
        values[4] = Usage(*values[4][:_USAGE_SIZE])
    return _KINDS[kind](*values[: _SIZES[kind]])


def _value(value: Any) -> Any:
    return _row(value) if isinstance(value, Usage) else value


def _row(usage: Usage) -> list[Any]:
    return [*_counts_of(usage)]
