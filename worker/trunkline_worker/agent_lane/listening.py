"""What a provider's stream says, as run events, incrementally. Pure."""

import sys
from dataclasses import replace
from typing import Any, Final

import orjson
from pydantic_ai.messages import (
    ModelResponsePart,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)

from trunkline_shared.events import (
    ReasoningDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_worker.agent_lane.history import custom_input
from trunkline_worker.backends.limits import CHARS_PER_TOKEN

_NOTHING: Final[list[RunEvent]] = []


class Listener:
    """One answer. `customs` are the custom tools: their text is heard when it is whole. With
    `summaries` what it hears of reasoning are the parts of a summary.

    `over_limit`: more was said than `limit` tokens, by the number of pieces and by their length.
    Raises TypeError for what is no text: providers' clients do not look.
    """

    def __init__(
        self, customs: frozenset[str], limit: int | None, *, summaries: bool = False
    ) -> None:
        self.over_limit = False
        self._customs = customs
        self._summaries = summaries
        self._limit = sys.maxsize if limit is None else limit
        self._calls: dict[int, _Call] = {}  # by the index of their part
        self._pieces = 0
        self._chars = 0

    @property
    def output_tokens(self) -> int:
        """An estimate, for upstreams that report no usage."""
        return min(max(self._pieces, self._chars // CHARS_PER_TOKEN), self._limit)

    def hear(self, event: ModelResponseStreamEvent) -> list[RunEvent]:
        """The first piece comes with the start of its part."""
        match event:
            case PartDeltaEvent(delta=TextPartDelta(text)):
                events: list[RunEvent] = [TextDelta(text)] if text else _NOTHING
            case PartDeltaEvent(index=index, delta=ThinkingPartDelta(content_delta=thought)):
                events = self._thought(index, thought) if thought else _NOTHING
            case PartDeltaEvent(index=index, delta=ToolCallPartDelta(args_delta=piece)):
                events = self._arguments(index, _text(piece))
            case PartStartEvent(index=index, part=part):
                events = self._start(index, part)
            case PartEndEvent(index=index) if index in self._calls:
                events = self._end(index)
            case _:
                return _NOTHING
        return self._within(events) if events else events

    def _within(self, events: list[RunEvent]) -> list[RunEvent]:
        self._pieces += len(events)
        self._chars += sum(map(_length, events))
        if self._pieces > self._limit and self._chars > self._limit * CHARS_PER_TOKEN:
            self.over_limit = True
            return _NOTHING
        return events

    def _start(self, index: int, part: ModelResponsePart) -> list[RunEvent]:
        match part:
            case TextPart(content) if content:
                return [TextDelta(content)]
            case ThinkingPart(content) if content:
                return self._thought(index, content)
            case ToolCallPart(name, arguments, call_id) if index not in self._calls:
                custom = name in self._customs
                call = self._calls[index] = _Call(len(self._calls), custom)
                start = ToolCallStart(call.index, _checked(call_id), _checked(name))
                if custom:
                    start = replace(start, kind="custom")
                return [start, *self._arguments(index, _text(arguments))]
        return _NOTHING

    def _thought(self, index: int, text: str) -> list[RunEvent]:
        return [ReasoningDelta(text, index if self._summaries else None)]

    def _arguments(self, index: int, piece: str) -> list[RunEvent]:
        call = self._calls.get(index)
        if call is None or not piece:
            return _NOTHING
        call.said.append(piece)
        return _NOTHING if call.custom else [ToolArgsDelta(call.index, piece)]

    def _end(self, index: int) -> list[RunEvent]:
        call = self._calls[index]
        if call.custom:
            text = custom_input("".join(call.said))
            call.custom = False  # it ends once
            return [ToolArgsDelta(call.index, text)] if text else _NOTHING
        if not call.said:  # arguments are JSON, also where there are none
            return self._arguments(index, "{}")
        return _NOTHING


class _Call:
    __slots__ = ("custom", "index", "said")

    def __init__(self, index: int, custom: bool) -> None:
        self.index = index
        self.custom = custom
        self.said: list[str] = []


def _length(event: RunEvent) -> int:
    return len(_checked(getattr(event, "text", "")))


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError
    return text


def _text(arguments: object) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return orjson.dumps(arguments).decode()
