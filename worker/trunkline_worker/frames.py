"""From a run's events to its frames: numbering, buffering, splitting. No I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, get_args

from trunkline_shared.events import (
    Activity,
    ActivityArgs,
    ActivityOutput,
    Compacted,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    Step,
    TextDelta,
    ToolArgsDelta,
)
from trunkline_shared.frame import Texts, encode_frame

TERMINALS = (Finished, Failed)  # a tuple is checked faster than a union
_UNSHOWN = (*TERMINALS, Step, *get_args(Activity))
RECORDED = "recorded"
MAX_FRAME_BYTES = 64 * 1024
# A delta longer than this is split, so that one event fits a frame even if JSON escapes it all.
MAX_DELTA_CHARS = 10_000


class Entry(NamedTuple):
    """What is to be added to the run's journal; `added` is called once it surely is."""

    data: bytes
    added: Callable[[], None]


@dataclass(slots=True)  # not frozen: that costs 0.7 µs, and most frames hold one token
class Frame:
    """One entry of a run's log. A retry sends the same bytes under the same id."""

    run_id: str
    stream_id: str
    reply: str
    data: bytes
    outcome: str = ""  # how the run ended, on the last of it; RECORDED on one that brings an entry
    source: "FrameBuffer | None" = field(default=None, compare=False, repr=False)
    follows: bool = False  # what comes before it is surely in the log


@dataclass(slots=True)
class EntryFrame(Frame):
    """Brings an entry of the run's journal, which is added with it or not at all."""

    entry: Entry = field(kw_only=True, compare=False)

    @classmethod
    def of(cls, plain: Frame, entry: Entry) -> "EntryFrame":
        what = (plain.run_id, plain.stream_id, plain.reply, plain.data)
        return cls(*what, RECORDED, plain.source, entry=entry)


class FrameBuffer:
    """Events of one attempt that no frame holds yet."""

    def __init__(self, run_id: str, epoch: int, last_seq: int, reply: str) -> None:
        self.run_id = run_id
        self.reply = reply
        self.waiting_chars = 0
        self.result = b""  # what the end of the run stores, and adds to its conversation
        self.turn = b""
        self._epoch = epoch
        self._last_seq = last_seq
        self._events: list[RunEvent | Texts] = []
        self._more = 0  # TextDeltas that stand in `_events` as one with others
        self._entries: list[
            tuple[int, Entry]
        ] = []  # how many of `_events` go before it, or with it

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, events: Sequence[RunEvent | Texts]) -> None:
        for event in events:
            # Short plain text is nearly all there is.
            if type(event) is TextDelta and event.logprobs is None:
                chars = len(event.text)
                if chars <= MAX_DELTA_CHARS:
                    self._events.append(event)
                    self.waiting_chars += chars + 32
                    continue
            if type(event) is Texts:
                self._add_texts(event)
                continue
            if isinstance(event, TERMINALS):
                self._events.append(event)  # what it weighs nobody waits for
                continue
            for piece in split_delta(event):
                self._events.append(piece)
                self.waiting_chars += _weight(piece)

    def bring(self, entry: Entry) -> None:
        """The entry goes with the event added last, which no frame may hold yet."""
        self._entries.append((len(self._events), entry))

    def drain(self) -> list[Frame]:
        """All waiting events as frames of at most 64 KB each; the terminal one in the last. A frame
        that brings an entry ends with the event that the entry goes with.

        Raises TypeError when one of them is no JSON; they are gone then.
        """
        events, self._events = self._events, []
        more, self._more = self._more, 0
        self.waiting_chars = 0
        if self._entries:
            return self._with_entries(events)
        return self._frames(events, more) if events else []

    def _with_entries(self, events: list[RunEvent | Texts]) -> list[Frame]:
        entries, self._entries = self._entries, []
        frames: list[Frame] = []
        done = 0
        for upto, entry in entries:
            frames += self._counted(events[done:upto])
            frames[-1] = EntryFrame.of(frames[-1], entry)
            done = upto
        return frames + self._counted(events[done:])

    def _counted(self, events: list[RunEvent | Texts]) -> list[Frame]:
        more = sum(len(each) - 1 for each in events if isinstance(each, Texts))
        return self._frames(events, more) if events else []

    def _add_texts(self, texts: Texts) -> None:
        if len(texts.literals) > MAX_DELTA_CHARS:
            self.add([*texts])
            return
        self._events.append(texts)
        count = len(texts)
        self._more += count - 1
        self.waiting_chars += len(texts.literals) + 32 * count

    def _frames(self, events: list[RunEvent | Texts], more: int = 0) -> list[Frame]:
        data = encode_frame(self._last_seq + 1, events)
        if len(data) > MAX_FRAME_BYTES and len(events) + more > 1:
            if more:
                events = [
                    each for one in events for each in (one if isinstance(one, Texts) else [one])
                ]
            middle = len(events) // 2
            return self._frames(events[:middle]) + self._frames(events[middle:])
        self._last_seq += len(events) + more
        stream_id = f"{self._epoch}-{self._last_seq}"
        last = events[-1]
        end = "" if type(last) is TextDelta or type(last) is Texts else outcome_of(last)
        return [Frame(self.run_id, stream_id, self.reply, data, end, self)]


def outcome_of(event: RunEvent | Texts) -> str:
    """How the run ended, if this event ends it; else empty."""
    match event:
        case Finished():
            return "finished"
        case Failed(code="cancelled"):
            return "cancelled"
        case Failed():
            return "failed"
        case _:
            return ""


def is_terminal(event: RunEvent | Texts) -> bool:
    return isinstance(event, TERMINALS)


def shows_output(event: RunEvent | Texts) -> bool:
    """Whether a client has seen some of the answer once this event was sent."""
    return not isinstance(event, _UNSHOWN)


def split_delta(event: RunEvent) -> list[RunEvent]:
    """The event itself, or its text in pieces that fit a frame."""
    match event:
        case (
            TextDelta()
            | ReasoningDelta()
            | RefusalDelta()
            | ToolArgsDelta()
            | ActivityArgs()
            | ActivityOutput()
        ):
            text = event.text
        case _:
            return [event]
    if len(text) <= MAX_DELTA_CHARS:
        return [event]
    head: RunEvent = replace(event, text=text[:MAX_DELTA_CHARS])
    if isinstance(event, TextDelta):
        event = replace(event, logprobs=None)  # the head has them all
    rest: list[RunEvent] = [
        replace(event, text=text[start : start + MAX_DELTA_CHARS])
        for start in range(MAX_DELTA_CHARS, len(text), MAX_DELTA_CHARS)
    ]
    return [head, *rest]


def _weight(event: RunEvent) -> int:
    match event:
        case TextDelta(text, rows):
            return len(text) + 32 + 200 * len(rows or ())
        case ReasoningDelta(text) | RefusalDelta(text) | ToolArgsDelta(_, text):
            return len(text) + 32
        case ActivityArgs(_, text) | ActivityOutput(_, text):
            return len(text) + 32
        case Compacted(content):
            return len(content) + 32
    return 200
