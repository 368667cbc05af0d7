"""A run's events folded into its result, in neutral form: what is replied, and what is stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from trunkline_shared import events
from trunkline_shared.events import (
    Attempt,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Terminal,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
)
from trunkline_shared.transcript import Item, Message, Reasoning, TextPart, ToolCall

FOLDED_VERSION = 1


@dataclass(frozen=True, slots=True)
class Folded:
    """What a run said. `terminal` is None while it has not ended; calls are in their order."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[dict[str, Any], ...] | None = None
    terminal: Terminal | None = None

    @property
    def usage(self) -> Usage | None:
        return None if self.terminal is None else self.terminal.usage


class Fold:
    """Collects the events of one run, in order, and forgets what a new attempt drops."""

    def __init__(self) -> None:
        self._frames: list[tuple[int, Sequence[RunEvent]]] = []

    def add(self, first_seq: int, batch: Sequence[RunEvent]) -> None:
        """Takes the next events; `first_seq` is the seq of the first of them."""
        for offset, event in enumerate(batch):
            if isinstance(event, Attempt) and event.drop_from is not None:
                self._frames.append((first_seq, batch[:offset]))
                self._drop(event.drop_from)
                self.add(first_seq + offset + 1, batch[offset + 1 :])
                return
        self._frames.append((first_seq, batch))

    def result(self) -> Folded:
        """What was said so far. Raises ValueError on arguments of a call that never began."""
        return _folded([event for _, frame in self._frames for event in frame])

    def _drop(self, drop_from: int) -> None:
        kept = [(seq, frame[: max(0, drop_from - seq)]) for seq, frame in self._frames]
        self._frames = [(seq, frame) for seq, frame in kept if frame]


def _folded(said: Sequence[RunEvent]) -> Folded:
    texts = [event for event in said if isinstance(event, TextDelta)]
    rows = [row for event in texts for row in event.logprobs or ()]
    ends = [event for event in said if isinstance(event, Finished | Failed)]
    return Folded(
        text="".join(event.text for event in texts),
        reasoning="".join(event.text for event in said if isinstance(event, ReasoningDelta)),
        refusal="".join(event.text for event in said if isinstance(event, RefusalDelta)),
        tool_calls=_tool_calls(said),
        logprobs=tuple(rows) if any(event.logprobs is not None for event in texts) else None,
        terminal=ends[-1] if ends else None,
    )


def _tool_calls(said: Sequence[RunEvent]) -> tuple[ToolCall, ...]:
    starts = {event.index: event for event in said if isinstance(event, ToolCallStart)}
    pieces: dict[int, list[str]] = {index: [] for index in starts}
    for event in said:
        if isinstance(event, ToolArgsDelta):
            if event.index not in pieces:
                raise ValueError(f"arguments of tool call {event.index}, which never began")
            pieces[event.index].append(event.text)
    return tuple(
        ToolCall(
            type="tool_call",
            id=start.call_id,
            name=start.name,
            arguments="".join(pieces[index]),
            kind=start.kind,
        )
        for index, start in sorted(starts.items())
    )


def said(folded: Folded) -> list[Item]:
    """What the answer adds to a transcript."""
    items: list[Item] = []
    if folded.reasoning:
        items.append(Reasoning(type="reasoning", text=folded.reasoning))
    if folded.text:
        part = TextPart(type="text", text=folded.text)
        items.append(Message(type="message", role="assistant", content=[part]))
    return [*items, *folded.tool_calls]


def encode(folded: Folded) -> bytes:
    """The result as compact JSON with a version."""
    terminal = None if folded.terminal is None else events.encode(folded.terminal)
    calls = [
        [call["id"], call["name"], call["arguments"], call["kind"]] for call in folded.tool_calls
    ]
    return orjson.dumps(
        {
            "v": FOLDED_VERSION,
            "text": folded.text,
            "reasoning": folded.reasoning,
            "refusal": folded.refusal,
            "calls": calls,
            "logprobs": folded.logprobs,
            "end": terminal,
        }
    )


def decode(stored: bytes) -> Folded:
    """The result of `encode`. Raises ValueError when this version cannot read it."""
    try:
        values: dict[str, Any] = orjson.loads(stored)
        version = values["v"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("not a stored result") from error
    if version != FOLDED_VERSION:
        raise ValueError(f"a stored result has the unknown version {version!r}")
    try:
        return _decoded(values)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("a stored result is damaged") from error


def _decoded(values: dict[str, Any]) -> Folded:
    calls = tuple(
        ToolCall(type="tool_call", id=call_id, name=name, arguments=arguments, kind=kind)
        for call_id, name, arguments, kind in values["calls"]
    )
    rows = values["logprobs"]
    end = None if values["end"] is None else events.decode(values["end"])
    if end is not None and not isinstance(end, Finished | Failed):
        raise ValueError("no terminal event")
    return Folded(
        text=values["text"],
        reasoning=values["reasoning"],
        refusal=values["refusal"],
        tool_calls=calls,
        logprobs=None if rows is None else tuple(rows),
        terminal=end,
    )
