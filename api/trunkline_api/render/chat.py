"""Run events as the chunks of a chat completion.

A stream is rendered from bytes templates, because this is what costs at the edge: everything but
the text of a delta is the same in every chunk of a run.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, assert_never

import orjson

from trunkline_api.errors import ApiError, envelope, from_failure
from trunkline_api.render.activity import ACTIVITY, ActivityPieces
from trunkline_api.render.completion import about, completion_id, usage_value
from trunkline_api.render.unfolded import unfolded
from trunkline_shared.events import (
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
from trunkline_shared.fold import APART, Folded
from trunkline_shared.frame import Texts
from trunkline_shared.run import created_ms

_SILENT: Final = (Created, Attempt, Step, Compacted, ToolCallStart)
_SILENT_WITHOUT_TOOLS: Final = (*_SILENT, *ACTIVITY)
DONE: Final = b"data: [DONE]\n\n"

_MEMBER: Final[Mapping[type, str]] = MappingProxyType(
    {ReasoningDelta: "reasoning_content", RefusalDelta: "refusal"}
)


class ChatRenderer:
    """One run's events as server-sent events. Holds state: feed it every event once, in order.

    The start of a tool call leaves together with the first delta after it: until then a new
    attempt may begin the call anew, and clients cannot take an id or a name back.

    `show_tools`: chunks tell what the agent does itself, too.
    """

    heartbeat: Final = b": hb\n\n"

    def __init__(
        self, run_id: str, model: str, *, include_usage: bool, show_tools: bool = False
    ) -> None:
        head = orjson.dumps(
            {
                "id": completion_id(run_id),
                "object": "chat.completion.chunk",
                "created": created_ms(run_id) // 1000,
                "model": model,
            }
        )
        self._head = b"data: " + head[:-1]
        self._include_usage = include_usage
        self._end = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._delta = self._head + b',"choices":[{"index":0,"delta":{'
        self._plain = b'},"logprobs":null,"finish_reason":null}]' + self._end
        self._text = self._delta + b'"content":'
        self._has_role = False
        self._in_text = False  # a plain text would only go on with what was said last
        self._has_text = self._has_acted = False
        self._summary: int | None = None  # the part of a summary that was told last
        self._starting: dict[int, ToolCallStart] = {}
        self._custom: set[int] = set()
        self._activities = ActivityPieces() if show_tools else None
        self._silent = _SILENT if show_tools else _SILENT_WITHOUT_TOOLS

    def render(self, events: Sequence[RunEvent]) -> bytes:
        """The bytes for a batch, to be sent as they are; empty when nothing is to be shown."""
        pieces: list[bytes] = []
        if type(events) is Texts:
            self._render_texts(events.literals, pieces)
            events = events.more
        for event in events:
            if type(event) is TextDelta and event.logprobs is None and self._in_text:
                pieces += (self._text, orjson.dumps(event.text), self._plain)
            else:
                self._render(event, pieces)
        return b"".join(pieces)

    def whole(self, folded: Folded) -> bytes:
        """A run that has ended, of which only its result is known: each part is one delta.

        In place of `render`, not besides. Raises ApiError when it failed before anything was shown,
        and ValueError when it has not ended.
        """
        events = [*unfolded(folded)]
        first = next(filter(self.shows_output, events))
        if isinstance(first, Failed):
            raise self.refusal(first)
        return self.render(events)

    def shows_output(self, event: RunEvent) -> bool:
        """Whether `render` writes something for this event, the end of the run included."""
        return not isinstance(event, self._silent)

    def broken(self, failed: Failed, *, goes_on: bool) -> bytes:
        """The end of a stream that cannot go on; nobody could come back to it."""
        return self.render([failed])

    def refusal(self, failed: Failed) -> ApiError:
        """The reply for a run that failed before anything was shown."""
        return from_failure(failed)

    def _render_texts(self, literals: bytes, pieces: list[bytes]) -> None:
        if not self._in_text:
            first, more, literals = literals.partition(b'","')
            self._render(TextDelta(orjson.loads(b'"' + first + b'"')), pieces)
            if not more:
                return
        before, after = self._text + b'"', b'"' + self._plain
        pieces += (before, literals.replace(b'","', after + before), after)

    def _render(self, event: RunEvent, pieces: list[bytes]) -> None:
        self._in_text = False
        before, self._summary = self._summary, getattr(event, "summary", None)
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                is_next = before is not None and self._summary not in (None, before)
                pieces += self._say(event, is_next_part=is_next)
            case Created() | Attempt():
                self._starting.clear()
                pieces += self._act(event)
            case Finished():
                pieces += self._begin()
                pieces += self._act(event)
                pieces += self._finish(event)
            case ToolCallStart() | ToolArgsDelta():
                pieces += self._call(event)
            case Failed():
                pieces += self._act(event)
                pieces.append(b"data: " + envelope(from_failure(event)) + b"\n\n")
            case Step() | Compacted():
                pieces += self._begin()  # a call that is recorded will not begin anew
            case ActivityStart() | ActivityArgs() | ActivityOutput() | ActivityEnd():
                pieces += self._act(event)
            case _:
                assert_never(event)

    def _say(
        self, event: TextDelta | ReasoningDelta | RefusalDelta, *, is_next_part: bool
    ) -> list[bytes]:
        text = event.text
        if not isinstance(event, TextDelta):
            text = APART + text if is_next_part else text
            return [*self._begin(), self._chunk({_MEMBER[type(event)]: text})]
        if text:
            text = APART + text if self._has_acted else text
            self._has_text, self._has_acted = True, False
        self._in_text = self._has_text and not self._has_acted
        return [*self._begin(), self._chunk({"content": text}, event.logprobs)]

    def _act(self, event: RunEvent) -> list[bytes]:
        self._has_acted = self._has_acted or (self._has_text and isinstance(event, ActivityStart))
        if self._activities is None:
            return []
        told = ({"activity": piece} for piece in self._activities.add(event))
        return [self._chunk({}, more=b',"trunkline":' + orjson.dumps(each)) for each in told]

    def _call(self, event: ToolCallStart | ToolArgsDelta) -> list[bytes]:
        if isinstance(event, ToolCallStart):
            self._starting[event.index] = event
            return []
        if event.index in self._starting:
            return self._begin(event.index, event.text)
        return [*self._begin(), self._arguments(event.index, event.text)]

    def _begin(self, index: int | None = None, text: str = "") -> list[bytes]:
        if not self._starting:
            return []
        starting, self._starting = self._starting, {}
        return [
            self._arguments(start.index, text if start.index == index else "", start)
            for start in starting.values()
        ]

    def _arguments(self, index: int, text: str, start: ToolCallStart | None = None) -> bytes:
        call: dict[str, Any] = {"index": index}
        named: dict[str, str] = {}
        if start is not None:
            call |= {"id": start.call_id, "type": start.kind}
            named["name"] = start.name
            if start.kind == "custom":
                self._custom.add(index)
        if index in self._custom:
            call["custom"] = named | {"input": text}
        else:
            call["function"] = named | {"arguments": text}
        return self._chunk({"tool_calls": [call]})

    def _chunk(
        self, delta: dict[str, Any], rows: list[dict[str, Any]] | None = None, more: bytes = b""
    ) -> bytes:
        if not self._has_role:
            self._has_role = True
            delta = {"role": "assistant", "content": None} | delta
        body = self._delta + orjson.dumps(delta)[1:-1]
        if more:
            return body + b'},"logprobs":null,"finish_reason":null}]' + more + self._end
        if rows is None:
            return body + self._plain
        logprobs = orjson.dumps({"content": rows, "refusal": None})
        return body + b'},"logprobs":' + logprobs + b',"finish_reason":null}]' + self._end

    def _finish(self, event: Finished) -> list[bytes]:
        first = [] if self._has_role else [self._chunk({"content": ""})]
        end = b'},"logprobs":null,"finish_reason":"' + event.reason.encode() + b'"}]'
        told = about(event)
        why = b""
        if event.detail is not None:
            why = b',"trunkline":' + orjson.dumps({"detail": event.detail})
        chunks = [*first, self._delta + end + told + why + self._end]
        if self._include_usage:
            usage = b',"choices":[],"usage":' + orjson.dumps(usage_value(event.usage))
            chunks.append(self._head + usage + told + b"}\n\n")
        return [*chunks, DONE]
