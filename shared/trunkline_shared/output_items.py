"""What a run's output is made of: its items, their parts, and how they change."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from trunkline_shared.transcript import Phase

ItemKind: TypeAlias = Literal[
    "message", "reasoning", "function", "custom", "activity", "compaction"
]
PartKind: TypeAlias = Literal[
    "text", "refusal", "reasoning", "summary", "arguments", "output", "sealed"
]
Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]


@dataclass(frozen=True, slots=True)
class OutputPart:
    """A stretch of one kind. `logprobs` None: nobody asked for them."""

    kind: PartKind
    text: str = ""
    logprobs: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class OutputItem:
    """One item of what a run says. Calls of a tool, `function` or `custom`, also have a name, the
    id that their result is to name, and `number`, which counts the calls of one attempt.

    So has an `activity`, a call of one of the agent's own tools, whose result is a part of it.
    `error` says why it failed; it is completed then all the same. A `compaction` is completed from
    the start.

    The `phase` of a message is known when it closes: `commentary` if something follows it, or the
    caller's tools are called; else it is the `final_answer`. One that was cut off has none.
    """

    kind: ItemKind
    status: Status = "in_progress"
    parts: tuple[OutputPart, ...] = ()
    call_id: str = ""
    name: str = ""
    number: int = 0
    toolset: str = ""
    error: str | None = None
    phase: Phase | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    def of(self, kind: PartKind) -> str:
        """The text of all its parts of one kind."""
        return "".join(part.text for part in self.parts if part.kind == kind)


@dataclass(frozen=True, slots=True)
class Opened:
    """`item` is empty still. `index` counts the items of a run; none is opened twice."""

    index: int
    item: OutputItem


@dataclass(frozen=True, slots=True)
class PartOpened:
    """`part` counts those of its item; those of a summary are counted apart."""

    index: int
    part: int
    kind: PartKind


@dataclass(frozen=True, slots=True)
class Grew:
    """The last part of an item goes on."""

    index: int
    part: int
    kind: PartKind
    text: str
    logprobs: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class PartClosed:
    index: int
    part: int
    whole: OutputPart


@dataclass(frozen=True, slots=True)
class Closed:
    index: int
    item: OutputItem


Change: TypeAlias = Opened | PartOpened | Grew | PartClosed | Closed
