"""A run's events folded into its result, in neutral form: what is replied, and what is stored."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from trunkline_shared import events
from trunkline_shared.events import Attempt, Failed, Finished, RunEvent, Terminal, TextDelta, Usage
from trunkline_shared.output import Output
from trunkline_shared.output_items import OutputItem, OutputPart
from trunkline_shared.transcript import (
    Item,
    Message,
    Opaque,
    Part,
    Reasoning,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolResult,
)

FOLDED_VERSION = 1
APART = "\n\n"
INTERRUPTED = "The call was interrupted; what it did before is not known."

_CALLS = ("function", "custom")


@dataclass(frozen=True, slots=True)
class Folded:
    """What a run said. `terminal` is None while it has not ended; `ended_ms` is Unix ms, 0 where
    nobody looked at the clock.
    """

    items: tuple[OutputItem, ...] = ()
    terminal: Terminal | None = None
    ended_ms: int = 0

    @property
    def usage(self) -> Usage | None:
        return None if self.terminal is None else self.terminal.usage

    @property
    def text(self) -> str:
        """All texts as one, apart where the agent did something in between."""
        text, acted = "", False
        for item in self.items:
            said = item.of("text")
            text += APART + said if text and said and acted else said
            acted = item.kind == "activity" or (acted and not said)
        return text

    @property
    def reasoning(self) -> str:
        """All of it as one text, the parts of a summary apart."""
        items = [item for item in self.items if item.kind == "reasoning"]
        return "".join(item.of("reasoning") + APART.join(summary_of(item)) for item in items)

    @property
    def refusal(self) -> str:
        return self._all("refusal")

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """In the order of their numbers."""
        calls = (item for item in self.items if item.kind in _CALLS)
        return tuple(_tool_call(item) for item in sorted(calls, key=lambda call: call.number))

    @property
    def activities(self) -> tuple[OutputItem, ...]:
        """In the order in which they began."""
        return tuple(item for item in self.items if item.kind == "activity")

    @property
    def logprobs(self) -> tuple[dict[str, Any], ...] | None:
        """The rows of all texts; None where there are none because nobody asked."""
        known = [part.logprobs for part in self._parts() if part.logprobs is not None]
        return tuple(row for rows in known for row in rows) if known else None

    def _all(self, kind: str) -> str:
        return "".join(part.text for part in self._parts() if part.kind == kind)

    def _parts(self) -> Iterator[OutputPart]:
        return (part for item in self.items for part in item.parts)


def said(folded: Folded) -> list[Item]:
    """What the answer adds to a history.

    Of what is incomplete only a message at the very end counts: one before is what a lost worker
    left, and was said anew; half a call cannot be answered, and half a thought leads nowhere. An
    activity always has a result, if only that it was interrupted. The caller's calls come last, so
    that nothing stands between them and the results which the caller gives.
    """
    return [item for _, item in placed(folded)]


def placed(folded: Folded) -> list[tuple[int, Item]]:
    """The same, each with its place in the output."""
    last = folded.items[-1] if folded.items else None
    items = [
        (at, item) for at, item in enumerate(folded.items) if _counts(item, is_last=item is last)
    ]
    final = {item.number: item for _, item in items if item.kind == "activity"}
    told = [
        (at, each)
        for at, item in items
        if item.kind not in _CALLS and not _was_begun_anew(item, final)
        for each in _neutral(item)
    ]
    return [*told, *((at, _tool_call(item)) for at, item in items if item.kind in _CALLS)]


def summary_of(item: OutputItem) -> list[str]:
    """The parts of what is told of reasoning."""
    return [part.text for part in item.parts if part.kind == "summary"]


class Fold:
    """Collects the events of one run, in order, and forgets what a new attempt drops."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._frames: list[tuple[int, Sequence[RunEvent]]] = []
        self._now_s = now_s
        self._ended_ms = 0

    def add(self, first_seq: int, batch: Sequence[RunEvent]) -> None:
        """Takes the next events; `first_seq` is the seq of the first of them."""
        for offset, event in enumerate(batch):
            if isinstance(event, Attempt) and event.drop_from is not None:
                self._frames.append((first_seq, batch[:offset]))
                self._drop(event.drop_from)
                self.add(first_seq + offset + 1, batch[offset + 1 :])
                return
        self._frames.append((first_seq, batch))
        if batch and isinstance(end := batch[-1], Finished | Failed):
            at_ms = end.at_ms if isinstance(end, Finished) else 0
            self._ended_ms = at_ms or int(self._now_s() * 1000)

    def result(self) -> Folded:
        """What was said so far. Raises ValueError on arguments of a call that never began."""
        output = Output()
        terminal: Terminal | None = None
        for _, frame in self._frames:
            for event in frame:
                if type(event) is TextDelta and event.logprobs is None and output.in_text:
                    output.grow(event.text)
                    continue
                output.add(event)
                if isinstance(event, Finished | Failed):
                    terminal = event
        return Folded(output.items, terminal, self._ended_ms)

    def _drop(self, drop_from: int) -> None:
        kept = [(seq, frame[: max(0, drop_from - seq)]) for seq, frame in self._frames]
        self._frames = [(seq, frame) for seq, frame in kept if frame]


def encode(folded: Folded) -> bytes:
    """The result as compact JSON with a version."""
    return orjson.dumps(
        {
            "v": FOLDED_VERSION,
            "items": [_row(item) for item in folded.items],
            "phases": [item.phase for item in folded.items],
            "end": None if folded.terminal is None else events.encode(folded.terminal),
            "at": folded.ended_ms,
        }
    )


def decode(stored: bytes) -> Folded:
    """The result of `encode`, or of a script, which knows `v` and `end` only.

    Raises ValueError when this version cannot read it.
    """
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
    end = None if values["end"] is None else events.decode(values["end"])
    if end is not None and not isinstance(end, Finished | Failed):
        raise ValueError("no terminal event")
    items = [_item(*row) for row in values.get("items", ())]
    # Beside the items, which stay as versions read them that know no phases.
    phases = values.get("phases") or [None] * len(items)
    told = (replace(item, phase=phase) for item, phase in zip(items, phases, strict=True))
    return Folded(tuple(told), end, values.get("at", 0))


def _row(item: OutputItem) -> list[Any]:
    parts = [[part.kind, part.text, part.logprobs] for part in item.parts]
    row = [item.kind, item.status, parts, item.call_id, item.name, item.number]
    # Other items stay as versions read them that know no activities.
    return [*row, item.toolset, item.error] if item.kind == "activity" else row


def _item(kind: Any, status: Any, parts: Any, *about: Any) -> OutputItem:
    read = (
        OutputPart(kind, text, None if rows is None else tuple(rows)) for kind, text, rows in parts
    )
    return OutputItem(kind, status, tuple(read), *about)


def _counts(item: OutputItem, *, is_last: bool) -> bool:
    if item.kind == "activity":
        return True
    if item.kind in _CALLS:
        return item.status == "completed"
    if item.status != "completed" and not (is_last and item.kind == "message"):
        return False
    return item.text != ""


def _was_begun_anew(item: OutputItem, final: Mapping[int, OutputItem]) -> bool:
    is_half = item.kind == "activity" and item.status != "completed"
    return is_half and final[item.number] is not item


def _neutral(item: OutputItem) -> list[Item]:
    if item.kind == "message":
        content = [_part(part) for part in item.parts]
        message = Message(type="message", role="assistant", content=content)
        if item.phase is not None:
            message["phase"] = item.phase
        if item.status == "incomplete":
            message["status"] = item.status
        return [message]
    if item.kind == "reasoning":
        reasoning = Reasoning(type="reasoning", text=item.of("reasoning"))
        summary = summary_of(item)
        return [{**reasoning, "summary": summary} if summary else reasoning]
    if item.kind == "compaction":
        sealed = {"type": "compaction", "encrypted_content": item.text}
        return [Opaque(type="opaque", origin="responses", value=sealed)]
    error = item.error if item.status == "completed" else INTERRUPTED
    return [*answered(_tool_call(item), item.toolset, item.of("output"), error)]


def answered(
    call: ToolCall, toolset: str, output: str, error: str | None
) -> tuple[ToolCall, ToolResult]:
    """A call of the agent's own and its result, as later turns see them."""
    texts = [output] if error is None else [text for text in (output, error) if text]
    content: list[Part] = [TextPart(type="text", text=text) for text in texts]
    result = ToolResult(type="tool_result", id=call["id"], content=content, toolset=toolset)
    if error is not None:
        result["is_error"] = True
    return {**call, "toolset": toolset, "arguments": _whole(call["arguments"])}, result


def _whole(arguments: str) -> str:
    # Providers read them, and refuse a history with half an object in it.
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return "{}"
    return arguments


def _part(part: OutputPart) -> Part:
    if part.kind == "refusal":
        return RefusalPart(type="refusal", text=part.text)
    return TextPart(type="text", text=part.text)


def _tool_call(item: OutputItem) -> ToolCall:
    return ToolCall(
        type="tool_call",
        id=item.call_id,
        name=item.name,
        arguments=item.of("arguments"),
        kind="custom" if item.kind == "custom" else "function",
    )
