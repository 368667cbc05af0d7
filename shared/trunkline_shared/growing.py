"""An item of a run's output while it grows."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from trunkline_shared.output_items import (
    Change,
    OutputItem,
    OutputPart,
    PartClosed,
    PartKind,
    PartOpened,
    Status,
)


@dataclass(slots=True, eq=False)
class Growing:
    """An item that is open, with its last part in pieces. What is `recorded` is whole, and will
    not be said again by a later attempt. `summary` tells the open part of a summary from others.
    """

    index: int
    empty: OutputItem
    parts: list[OutputPart] = field(default_factory=list)
    kind: PartKind | None = None
    summary: int | None = None
    pieces: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] | None = None
    recorded: bool = False

    @property
    def number(self) -> int:
        """Of the open part: those of a summary are counted apart."""
        in_summary = self.kind == "summary"
        return sum((part.kind == "summary") == in_summary for part in self.parts)

    def part(self) -> OutputPart:
        assert self.kind is not None
        rows = None if self.logprobs is None else tuple(self.logprobs)
        return OutputPart(self.kind, "".join(self.pieces), rows)

    def item(self, status: Status) -> OutputItem:
        last = [] if self.kind is None else [self.part()]
        return replace(self.empty, status=status, parts=(*self.parts, *last))

    def open_part(self, kind: PartKind, summary: int | None = None) -> Iterator[Change]:
        yield from self.close_part()
        self.kind, self.summary = kind, summary
        yield PartOpened(self.index, self.number, kind)

    def close_part(self) -> Iterator[Change]:
        if self.kind is None:
            return
        part = self.part()
        yield PartClosed(self.index, self.number, part)
        self.parts.append(part)
        self.kind, self.pieces, self.logprobs = None, [], None
