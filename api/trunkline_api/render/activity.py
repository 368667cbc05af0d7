"""What an agent does itself, for clients of chat completions that ask to see it.

It stands in the member `trunkline`, which no client of OpenAI's reads: as `activities` in a whole
completion, as an `activity` in a chunk. There a client joins what has the same `index`, as it does
with `tool_calls`: the first piece has `id`, `toolset` and `name`, the last one the final `status`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    RunEvent,
)
from trunkline_shared.output import Output
from trunkline_shared.output_items import Change, Closed, Grew, Opened, OutputItem

ACTIVITY = (ActivityStart, ActivityArgs, ActivityOutput, ActivityEnd)


class ActivityPieces:
    """The pieces of one stream. Feed it every event that is no delta, once, in order."""

    def __init__(self) -> None:
        self._output = Output()

    def add(self, event: RunEvent) -> Iterator[dict[str, Any]]:
        for change in self._output.add(event):
            piece = _piece(change)
            if piece is not None:
                yield {"index": change.index, **piece}


def activities(items: Iterable[OutputItem]) -> list[dict[str, Any]]:
    """Those of a run that has ended."""
    return [
        {
            **_named(item),
            "arguments": item.of("arguments"),
            "output": item.of("output"),
            **_ended(item),
        }
        for item in items
    ]


def _piece(change: Change) -> dict[str, Any] | None:
    match change:
        case Opened(item=item):
            return {**_named(item), "status": item.status}
        case Grew(kind=kind, text=text):
            return {kind: text}
        case Closed(item=item):
            return _ended(item)
    return None


def _named(item: OutputItem) -> dict[str, Any]:
    return {"id": item.call_id, "toolset": item.toolset, "name": item.name}


def _ended(item: OutputItem) -> dict[str, Any]:
    status = item.status if item.error is None else "failed"
    return {"status": status, "error": item.error}
