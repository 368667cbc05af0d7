"""What is shown of one step of a model while it says it."""

from collections.abc import Callable, Sequence

from trunkline_shared.events import (
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.frame import Texts, singly

_PLAIN = (TextDelta, Texts)


class Ear:
    """Passes on the text and the caller's calls, which are counted from 0, and drops the agent's
    own, which are shown when they are made. A `Texts` stays one where all of it is shown.

    `is_callers` tells them by name. With `held` no text is shown, but what is shown later `kept`
    where it `keeps`; with an `answer` only what the tool of that name is called with, as text.
    """

    def __init__(
        self,
        emit: Callable[[Sequence[RunEvent]], None],
        is_callers: Callable[[str], bool],
        *,
        held: bool,
        keeps: bool,
        answer: str | None,
    ) -> None:
        self._emit = emit
        self._is_callers = is_callers
        self._held = held
        self._keeps = keeps
        self.kept: list[RunEvent] = []
        self._answer = answer
        self._answer_index: int | None = None
        self._indexes: dict[int, int] = {}
        self.refused = False
        self.showed_text = False

    def __call__(self, events: Sequence[RunEvent]) -> None:
        plain = not self._held and self._answer is None
        if plain and all(type(event) in _PLAIN for event in events):  # most of all there is
            self.showed_text = True
            self._emit(events)
            return
        single = [each for event in events for each in singly(event)]
        shown = [each for event in single if (each := self._shown(event)) is not None]
        if shown:
            self._emit(shown)

    def _shown(self, event: RunEvent) -> RunEvent | None:
        match event:
            case TextDelta():
                return None if self._answer is not None else self._text(event)
            case ToolCallStart():
                return self._call(event)
            case ToolArgsDelta(index, text):
                if index == self._answer_index:
                    return self._text(TextDelta(text))
                known = self._indexes.get(index)
                return None if known is None else ToolArgsDelta(known, text)
            case RefusalDelta():
                self.refused = True
        return event

    def _text(self, event: TextDelta) -> RunEvent | None:
        if self._held:
            if self._keeps:
                self.kept.append(event)
            return None
        self.showed_text = True
        return event

    def _call(self, event: ToolCallStart) -> RunEvent | None:
        if event.name == self._answer:
            if self._answer_index is None:
                self._answer_index = event.index
            return None
        if not self._is_callers(event.name):
            return None
        index = self._indexes[event.index] = len(self._indexes)
        return ToolCallStart(index, event.call_id, event.name, event.kind)
