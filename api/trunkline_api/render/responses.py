"""Run events as the Responses API tells them: events of a stream, or one response.

Text is rendered from bytes templates, as in `chat.py`: what stands around a delta is the same for
all deltas of one part.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, assert_never

import orjson

from trunkline_api.errors import ApiError, from_failure
from trunkline_api.render.broken_off import broken_off
from trunkline_api.render.response import (
    About,
    empty_part,
    error_of,
    finished,
    item_id,
    part_value,
    rows_value,
    told_item,
    unfinished,
)
from trunkline_shared.events import (
    ActivityOutput,
    Attempt,
    Created,
    Failed,
    Finished,
    RunEvent,
    Step,
    Terminal,
    TextDelta,
    ToolCallStart,
)
from trunkline_shared.fold import Folded
from trunkline_shared.output import Output
from trunkline_shared.output_items import (
    Change,
    Closed,
    Grew,
    Opened,
    OutputItem,
    OutputPart,
    PartClosed,
    PartKind,
    PartOpened,
)

_ARGUED: Final = {
    "function": "response.function_call_arguments",
    "custom": "response.custom_tool_call_input",
    "activity": "response.mcp_call_arguments",
}
_SILENT: Final = (Created, Attempt, Step, ToolCallStart, ActivityOutput)
_GROWS: Final = {
    "text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning": "response.reasoning_text",
    "summary": "response.reasoning_summary_text",
}


class ResponsesRenderer:
    """One run's events as server-sent events. Holds state: feed it every event once, in order.

    The first bytes tell that the response exists, whatever they are rendered for.
    """

    heartbeat: Final = b": hb\n\n"

    def __init__(self, about: About, now_s: Callable[[], float] = time.time) -> None:
        self._about = about
        self._now_s = now_s
        self._output = Output()
        self._opened: dict[int, OutputItem] = {}
        self._sequence = 0
        self.folded = Folded()  # what was rendered, once it has ended
        self._has_begun = self._is_running = False
        self._text: tuple[bytes, bytes] = (b"", b"")  # around the number and the text of a delta

    def render(self, events: Sequence[RunEvent]) -> bytes:
        """The bytes for a batch, to be sent as they are; empty when nothing is to be shown."""
        pieces: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            pieces += self._begin()
        for event in events:
            if type(event) is TextDelta and event.logprobs is None and self._output.in_text:
                self._output.grow(event.text)
                head, tail = self._text
                pieces += (head, b"%d" % self._sequence, tail, orjson.dumps(event.text), b"}\n\n")
                self._sequence += 1
            else:
                pieces += self._render(event)
        return b"".join(pieces)

    @property
    def told(self) -> int:
        """How many events were rendered so far."""
        return self._sequence

    def whole(self, folded: Folded) -> bytes:
        """A run that has ended, of which only its result is known: each part is one delta.

        In place of `render`, not besides. Raises ValueError when the run has not ended.
        """
        pieces = [*self._begin(), self._start()]
        for index, item in enumerate(folded.items):
            for change in _told_at_once(index, item):
                pieces += self._change(change)
        return b"".join([*pieces, self._last(folded)])

    @staticmethod
    def shows_output(event: RunEvent) -> bool:
        """Whether `render` shows output for this event, or the end of the run."""
        return not isinstance(event, _SILENT)

    def broken(self, failed: Failed, *, goes_on: bool) -> bytes:
        """The end of a stream that cannot go on; of its run too, unless that `goes_on`."""
        if goes_on:
            return broken_off(from_failure(failed), max(0, self._sequence - 1))
        return self.render([failed])

    @staticmethod
    def refusal(failed: Failed) -> ApiError:
        """The reply for a run that failed before anything was shown."""
        return error_of(failed)

    def _render(self, event: RunEvent) -> Iterable[bytes]:
        if not self._is_running and not isinstance(event, Created):
            self._is_running = True
            yield self._start()
        for change in self._output.add(event):
            yield from self._change(change)
        if isinstance(event, Finished | Failed):
            yield self._end(event)

    def _begin(self) -> list[bytes]:
        """A run in the background is first seen in its queue, whenever that is rendered."""
        if not self._about.is_background:
            return [self._lifecycle("created", unfinished(self._about, "in_progress"))]
        queued = unfinished(self._about, "queued")
        return [self._lifecycle("created", queued), self._lifecycle("queued", queued)]

    def _start(self) -> bytes:
        return self._lifecycle("in_progress", unfinished(self._about, "in_progress"))

    def _end(self, event: Terminal) -> bytes:
        at_ms = event.at_ms if isinstance(event, Finished) else 0
        return self._last(Folded(self._output.items, event, at_ms or int(self._now_s() * 1000)))

    def _last(self, folded: Folded) -> bytes:
        self.folded = folded
        response = finished(self._about, folded)
        if isinstance(folded.terminal, Failed):
            return self._lifecycle("failed", response)
        return self._lifecycle(response["status"], response)

    def _change(self, change: Change) -> Iterable[bytes]:
        match change:
            case Opened(index, item):
                self._opened[index] = item
                yield self._item("added", index, item)
                if item.kind == "activity":
                    yield self._of_item("response.mcp_call.in_progress", index)
            case PartOpened(index, part, kind):
                yield from self._part_opened(index, part, kind)
            case Grew():
                yield from self._grew(change)
            case PartClosed(index, part, whole):
                yield from self._part_closed(index, part, whole)
            case Closed(index, item):
                yield from self._closed(index, item)
            case _:
                assert_never(change)

    def _part_opened(self, index: int, part: int, kind: PartKind) -> Iterable[bytes]:
        if kind == "output":
            return  # told with the whole activity
        if kind == "text":
            self._text = self._template(index, part)
        yield self._part(f"{_whole(kind)}.added", kind, index, part, part=empty_part(kind))

    def _grew(self, change: Grew) -> Iterable[bytes]:
        index, kind = change.index, change.kind
        if kind == "arguments":
            yield self._of_item(f"{self._argued(index)}.delta", index, delta=change.text)
        elif kind != "output":
            rows = {"logprobs": rows_value(change.logprobs)} if kind == "text" else {}
            more = {**rows, "delta": change.text}
            yield self._part(f"{_GROWS[kind]}.delta", kind, index, change.part, **more)

    def _part_closed(self, index: int, part: int, whole: OutputPart) -> Iterable[bytes]:
        kind = whole.kind
        if kind in ("arguments", "output"):
            return  # told with the whole call
        if kind == "refusal":
            said: dict[str, Any] = {"refusal": whole.text}
        elif kind == "text":
            said = {"text": whole.text, "logprobs": rows_value(whole.logprobs)}
        else:
            said = {"text": whole.text}
        yield self._part(f"{_GROWS[kind]}.done", kind, index, part, **said)
        yield self._part(f"{_whole(kind)}.done", kind, index, part, part=part_value(whole))

    def _closed(self, index: int, item: OutputItem) -> Iterable[bytes]:
        # Who acts on a call as soon as its arguments are done must not hear it of half a call.
        if item.status == "completed" and item.kind == "function":
            name = told_item(self._about, index, item)["name"]
            about = {"name": name, "arguments": item.text}
            yield self._of_item(f"{self._argued(index)}.done", index, **about)
        elif item.status == "completed" and item.kind == "custom":
            yield self._of_item(f"{self._argued(index)}.done", index, input=item.text)
        elif item.status == "completed" and item.kind == "activity":
            arguments = item.of("arguments")
            yield self._of_item(f"{self._argued(index)}.done", index, arguments=arguments)
            end = "completed" if item.error is None else "failed"
            yield self._of_item(f"response.mcp_call.{end}", index)
        yield self._item("done", index, item)

    def _argued(self, index: int) -> str:
        return _ARGUED[self._opened[index].kind]

    def _item(self, what: str, index: int, item: OutputItem) -> bytes:
        value = told_item(self._about, index, item)
        return self._event(f"response.output_item.{what}", output_index=index, item=value)

    def _of_item(self, kind: str, index: int, **more: Any) -> bytes:
        which = item_id(self._about.run_id, index, self._opened[index])
        return self._event(kind, item_id=which, output_index=index, **more)

    def _part(self, event: str, kind: PartKind, index: int, number: int, **more: Any) -> bytes:
        where = "summary_index" if kind == "summary" else "content_index"
        return self._of_item(event, index, **{where: number}, **more)

    def _lifecycle(self, what: str, response: dict[str, Any]) -> bytes:
        return self._event(f"response.{what}", response=response)

    def _event(self, kind: str, **more: Any) -> bytes:
        body = orjson.dumps({"type": kind, "sequence_number": self._sequence, **more})
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"

    def _template(self, index: int, part: int) -> tuple[bytes, bytes]:
        kind = "response.output_text.delta"
        about = orjson.dumps(
            {
                "item_id": item_id(self._about.run_id, index, self._opened[index]),
                "output_index": index,
                "content_index": part,
                "logprobs": [],
            }
        )
        head = f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":'.encode()
        return head, b"," + about[1:-1] + b',"delta":'


def _whole(kind: PartKind) -> str:
    return "response.reasoning_summary_part" if kind == "summary" else "response.content_part"


def _told_at_once(index: int, item: OutputItem) -> Iterable[Change]:
    if item.kind == "compaction":
        yield from (Opened(index, item), Closed(index, item))
        return
    empty = replace(item, status="in_progress", parts=(), error=None, phase=None)
    yield Opened(index, empty)
    counted: Counter[bool] = Counter()
    for part in item.parts:
        number = counted[part.kind == "summary"]
        counted[part.kind == "summary"] += 1
        if part.kind != "arguments":
            yield PartOpened(index, number, part.kind)
        yield Grew(index, number, part.kind, part.text, [*(part.logprobs or ())])
        yield PartClosed(index, number, part)
    yield Closed(index, item)


def render_folded(about: About, folded: Folded) -> bytes:
    """The whole stream of a run whose log is gone. Raises ValueError when it has not ended."""
    return ResponsesRenderer(about).whole(folded)


def render_response(about: About, folded: Folded) -> bytes:
    """The body of a reply that is not streamed. Raises ApiError when the run failed.

    A run that has not ended is one in the background, just submitted.
    """
    if folded.terminal is None:
        return orjson.dumps(unfinished(about, "queued"))
    if isinstance(folded.terminal, Failed):
        raise error_of(folded.terminal)
    return orjson.dumps(finished(about, folded))
