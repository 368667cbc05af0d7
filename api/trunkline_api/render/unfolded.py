"""A result as the events of a run that says it at once: each part is one delta."""

from collections.abc import Iterator

from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Folded, summary_of
from trunkline_shared.output_items import OutputItem, OutputPart


def unfolded(folded: Folded) -> Iterator[RunEvent]:
    """The end included. Raises ValueError when the run has not ended."""
    if folded.terminal is None:
        raise ValueError("the run has not ended")
    for item in folded.items:
        if item.kind == "activity":
            yield from _activity(item)
        elif item.kind == "function" or item.kind == "custom":
            yield ToolCallStart(item.number, item.call_id, item.name, item.kind)
            yield ToolArgsDelta(item.number, item.text)
        elif item.kind == "reasoning":
            yield from _thought(item)
        else:
            yield from (_said(part) for part in item.parts)
    yield folded.terminal


def _activity(item: OutputItem) -> Iterator[RunEvent]:
    yield ActivityStart(item.number, item.call_id, item.name, item.toolset)
    yield ActivityArgs(item.number, item.of("arguments"))
    if output := item.of("output"):
        yield ActivityOutput(item.number, output)
    if item.status == "completed":
        yield ActivityEnd(item.number, item.error)


def _thought(item: OutputItem) -> Iterator[RunEvent]:
    if text := item.of("reasoning"):
        yield ReasoningDelta(text)
    for number, told in enumerate(summary_of(item)):
        yield ReasoningDelta(told, number)


def _said(part: OutputPart) -> RunEvent:
    if part.kind == "refusal":
        return RefusalDelta(part.text)
    return TextDelta(part.text, None if part.logprobs is None else [*part.logprobs])
