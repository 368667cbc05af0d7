"""Events as output items: what of a run's output opened, grew and closed. Pure.

One machine for both replies: a stream tells its changes, a whole reply its items, so that they are
the same items at the same places.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeAlias, assert_never

from trunkline_shared.events import (
    Activity,
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
    Compacted,
    Created,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.growing import Growing
from trunkline_shared.output_items import (
    Change,
    Closed,
    Grew,
    ItemKind,
    Opened,
    OutputItem,
    OutputPart,
    PartKind,
    Status,
)
from trunkline_shared.transcript import Phase

_PART_OF: Mapping[type, PartKind] = MappingProxyType(
    {TextDelta: "text", RefusalDelta: "refusal", ReasoningDelta: "reasoning"}
)
_Said: TypeAlias = TextDelta | RefusalDelta | ReasoningDelta
_WHOLE = ("stop", "tool_calls")  # reasons to finish that cut nothing short


class Output:
    """What one run says, as far as it got. Feed it every event once, in order.

    A message or reasoning is open until something else begins, calls are until the end, because
    their arguments may come interleaved. A call opens with the first delta after its start: until
    then a new attempt may begin it anew. Activities are open until they end. A new attempt closes
    as incomplete whatever is open and not recorded, and goes on with new items; an activity that
    it takes up without a start is opened again with the arguments that it had.
    """

    def __init__(self) -> None:
        self._items: list[OutputItem | Growing] = []
        self._speaking: Growing | None = None
        self._starting: dict[int, ToolCallStart] = {}
        self._calls: dict[int, Growing] = {}
        self._activities: dict[int, Growing] = {}
        self._cut_activities: dict[int, OutputItem] = {}
        self._call_ids: set[str] = set()
        self._sealed = ""  # of a compaction that is not whole yet
        self._grown: Growing | None = None

    @property
    def items(self) -> tuple[OutputItem, ...]:
        return tuple(
            item.item("in_progress") if isinstance(item, Growing) else item for item in self._items
        )

    @property
    def in_text(self) -> bool:
        """Whether a plain TextDelta would only make the text grow that is open now."""
        speaking = self._speaking
        if speaking is None or speaking.kind != "text":
            return False
        return not speaking.recorded and not self._starting

    def grow(self, text: str) -> None:
        """A plain TextDelta while `in_text`, for those who know what changes by it."""
        assert self._speaking is not None
        self._grown = self._speaking
        self._speaking.pieces.append(text)

    def add(self, event: RunEvent) -> list[Change]:
        """What changes by the event. Raises ValueError on more of a call that never began."""
        return list(self._changes(event))

    def _changes(self, event: RunEvent) -> Iterator[Change]:
        match event:
            case TextDelta() | RefusalDelta() | ReasoningDelta():
                yield from self._speak(event)
            case ToolCallStart(index):
                self._starting[index] = event
            case ToolArgsDelta():
                yield from self._argue(event)
            case Finished():
                yield from self._open_calls()
                # What the model was saying when it was cut off is incomplete, and nothing else.
                cut = [] if event.reason in _WHOLE else [self._grown]
                is_last = event.reason != "tool_calls"
                yield from self._close_all(cut, "final_answer" if is_last else "commentary")
            case Created() | Attempt() | Failed():
                self._starting.clear()
                self._sealed = ""
                yield from self._close_all([i for i in self._open_items() if not i.recorded])
            case Step() | Compacted():
                yield from self._record(event)
            case ActivityStart() | ActivityArgs() | ActivityOutput() | ActivityEnd():
                yield from self._act(event)
            case _:
                assert_never(event)

    def _argue(self, event: ToolArgsDelta) -> Iterator[Change]:
        yield from self._open_calls()
        if event.index not in self._calls:
            raise ValueError(f"arguments of tool call {event.index}, which never began")
        yield self._grow(self._calls[event.index], event.text)

    def _record(self, event: Step | Compacted) -> Iterator[Change]:
        yield from self._open_calls()
        if isinstance(event, Compacted):
            yield from self._compact(event)
        for item in self._open_items():
            item.recorded = item.empty.kind != "activity"

    def _compact(self, event: Compacted) -> Iterator[Change]:
        self._sealed += event.content
        if event.more:
            return
        yield from self._end_speech()
        part, self._sealed = OutputPart("sealed", self._sealed), ""
        whole = OutputItem("compaction", "completed", (part,))
        self._items.append(whole)
        yield Opened(len(self._items) - 1, whole)
        yield Closed(len(self._items) - 1, whole)

    def _speak(self, event: _Said) -> Iterator[Change]:
        yield from self._open_calls()
        kind: ItemKind = "reasoning" if isinstance(event, ReasoningDelta) else "message"
        summary = event.summary if isinstance(event, ReasoningDelta) else None
        part = _PART_OF[type(event)] if summary is None else "summary"
        speaking = self._speaking
        if speaking is not None and (speaking.empty.kind != kind or speaking.recorded):
            yield from self._end_speech()
        if self._speaking is None:
            self._speaking = self._open(OutputItem(kind))
            yield Opened(self._speaking.index, self._speaking.empty)
        item = self._speaking
        if item.kind != part or item.summary != summary:
            yield from item.open_part(part, summary)
        yield self._grow(item, event.text, getattr(event, "logprobs", None))

    def _open_calls(self) -> Iterator[Change]:
        starting, self._starting = self._starting, {}
        for start in starting.values():
            yield from self._end_speech()
            call_id = self._unused(start.call_id)
            call = self._open(
                OutputItem(start.kind, call_id=call_id, name=start.name, number=start.index)
            )
            call.kind = "arguments"
            self._calls[start.index] = call
            yield Opened(call.index, call.empty)

    def _act(self, event: Activity) -> Iterator[Change]:
        index = event.index
        if isinstance(event, ActivityStart):
            yield from self._end_speech()
            call_id = self._unused(event.call_id)
            begun = OutputItem("activity", "in_progress", (), call_id, event.name, index)
            yield from self._begin_activity(replace(begun, toolset=event.toolset))
            return
        if index in self._cut_activities:
            yield from self._end_speech()
            yield from self._take_up(self._cut_activities.pop(index))
        if index not in self._activities:
            raise ValueError(f"more of activity {index}, which never began")
        item = self._activities[index]
        if item.kind == "arguments" and not isinstance(event, ActivityArgs):
            yield from item.close_part()
        if isinstance(event, ActivityEnd):
            del self._activities[index]
            item.empty = replace(item.empty, error=event.error)
            yield from self._close(item, "completed")
            return
        if item.kind is None:
            yield from item.open_part("output")
        item.pieces.append(event.text)
        assert item.kind is not None
        yield Grew(item.index, item.number, item.kind, event.text)

    def _take_up(self, cut: OutputItem) -> Iterator[Change]:
        call_id = self._unused(cut.call_id)
        yield from self._begin_activity(
            replace(cut, status="in_progress", parts=(), call_id=call_id)
        )
        item = self._activities[cut.number]
        item.pieces.append(cut.of("arguments"))
        yield Grew(item.index, 0, "arguments", item.pieces[0])

    def _begin_activity(self, empty: OutputItem) -> Iterator[Change]:
        self._cut_activities.pop(empty.number, None)
        item = self._activities[empty.number] = self._open(empty)
        item.kind = "arguments"
        yield Opened(item.index, empty)

    def _unused(self, call_id: str) -> str:
        # Some models count their calls from 0 in every attempt, and clients know calls by their id.
        number, unused = 1, call_id
        while unused in self._call_ids:
            number += 1
            unused = f"{call_id}_{number}"
        self._call_ids.add(unused)
        return unused

    def _open(self, empty: OutputItem) -> Growing:
        item = Growing(len(self._items), empty)
        self._items.append(item)
        return item

    def _grow(self, item: Growing, text: str, logprobs: list[dict[str, Any]] | None = None) -> Grew:
        self._grown = item
        item.pieces.append(text)
        if logprobs is not None:
            item.logprobs = item.logprobs or []
            item.logprobs.extend(logprobs)
        assert item.kind is not None
        return Grew(item.index, item.number, item.kind, text, logprobs)

    def _end_speech(self) -> Iterator[Change]:
        if self._speaking is not None:
            yield from self._close(self._speaking, "completed", "commentary")

    def _close_all(
        self, cut: Sequence[Growing | None], phase: Phase | None = None
    ) -> Iterator[Change]:
        """Without a `phase` it is not known what would have followed, but for what is recorded."""
        for number, activity in self._activities.items():
            self._cut_activities[number] = activity.item("incomplete")
        for item in self._open_items():
            is_cut = item in cut or item.empty.kind == "activity"
            known = phase or ("commentary" if item.recorded else None)
            yield from self._close(item, "incomplete" if is_cut else "completed", known)
        self._calls.clear()
        self._activities.clear()

    def _open_items(self) -> list[Growing]:
        return [item for item in self._items if isinstance(item, Growing)]

    def _close(self, item: Growing, status: Status, phase: Phase | None = None) -> Iterator[Change]:
        whole = item.item(status)
        if phase is not None and whole.kind == "message":
            whole = replace(whole, phase=phase)
        yield from item.close_part()
        if item is self._speaking:
            self._speaking = None
        self._items[item.index] = whole
        yield Closed(item.index, whole)
