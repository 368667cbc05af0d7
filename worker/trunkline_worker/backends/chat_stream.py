"""An upstream's streamed chat completion as run events, incrementally. Pure.

Every token of every run passes here. Those that come in lines like the ones before are read in
bulk (`TextLines`); for the others the common chunk takes a short way: one JSON parse, a handful of
look-ups, one event.
"""

import sys
from typing import Any, Final, cast

import orjson

from trunkline_shared.events import (
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    Usage,
)
from trunkline_shared.frame import Texts
from trunkline_worker.backends.chat_calls import ToolCalls
from trunkline_worker.backends.chat_usage import usage_of
from trunkline_worker.backends.limits import CHARS_PER_TOKEN
from trunkline_worker.backends.sse import EventLines
from trunkline_worker.backends.text_lines import TextLines

_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
}

_LINE_END: Final = ord("\n")

# What reading an answer of another shape than expected raises.
_WRONG_SHAPE: Final = (AttributeError, KeyError, TypeError, IndexError)


class ChatStream:
    """One answer. Feed it until `done`; then, or when the upstream ends, read what it found.

    `limit` bounds the output of an upstream that ignores its own: it is cut where both the
    pieces and the length of the text exceed it, so one that counts right is never cut. With
    `bulk`, texts may come out many at once, as a `Texts` among the events.
    """

    def __init__(self, limit: int | None = None, *, bulk: bool = False) -> None:
        self._bulk = bulk
        self.done = False
        self.over_limit = False
        self.garbage = False
        self.error: Any = None
        """The error object that the upstream sent in the stream."""
        self.usage: dict[str, Any] | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.system_fingerprint: str | None = None
        self._finish: FinishReason | None = None
        self._complete = False
        self._calls: ToolCalls | None = None  # as in most answers
        self._lines = EventLines()
        self._texts = TextLines()
        self._limit = limit
        self._free_chars = sys.maxsize if limit is None else limit * CHARS_PER_TOKEN
        self._pieces = 0
        self._chars = 0

    @property
    def finish(self) -> FinishReason | None:
        """The reason to finish with; None as long as the answer is not whole."""
        if self.over_limit:
            return "length"
        if self._finish is None and self._complete:
            return "tool_calls" if self._calls is not None and self._calls.started else "stop"
        return self._finish

    @property
    def output_tokens(self) -> int:
        """An estimate, for upstreams that report no usage."""
        tokens = max(self._pieces, self._chars // CHARS_PER_TOKEN)
        return min(tokens, self._limit) if self._limit is not None and self.over_limit else tokens

    def counts(self) -> Usage | None:
        """What the upstream reported, None if it did not."""
        return None if self.usage is None else usage_of(self.usage)

    def feed(self, data: bytes) -> list[RunEvent]:
        """The events of the next bytes, which may end anywhere. Never raises."""
        if not self._lines.tail and not self.done and (one := self._texts.one(data)):
            literal, text = one
            if self._chars + len(text) <= self._free_chars:
                self._pieces += 1
                self._chars += len(text)
                return [cast(RunEvent, Texts(literal)) if self._bulk else TextDelta(text)]
        return self._read(data)

    def _read(self, data: bytes) -> list[RunEvent]:
        lines, texts, at, alike = self._lines, self._texts, 0, True
        events: list[RunEvent] = []
        try:
            while at < len(data) and not self.done:
                if data[at] == _LINE_END and not lines.tail:  # an empty line follows each event
                    at += 1
                    continue
                if alike and texts.before and data.startswith(texts.before, at) and not lines.tail:
                    at, alike = self._alike(data, at, events)
                    continue
                end = data.find(b"\n", at)
                if end < 0:
                    lines.begin(data[at:])
                    end = len(data)
                elif line := lines.end(data[at:end]):
                    self._line(line, events)
                at = end + 1
                if lines.broken:
                    self.garbage = self.done = True
        except (orjson.JSONDecodeError, *_WRONG_SHAPE):
            self.garbage = self.done = True
        return events

    def _alike(self, data: bytes, at: int, events: list[RunEvent]) -> tuple[int, bool]:
        """Reads lines that are like those before. Where they end, and whether to try again: what is
        unusual in a read is looked at once."""
        found = self._texts.read(data, at)
        if found is None:
            return at, False
        literals, texts, end = found
        chars = sum(map(len, texts))
        if self._chars + chars > self._free_chars:
            return at, False
        self._pieces += len(texts)
        self._chars += chars
        if self._bulk and literals:
            events.append(cast(RunEvent, Texts(literals)))
        else:
            events += map(TextDelta, texts)
        return end, True

    def feed_whole(self, body: bytes) -> list[RunEvent]:
        """The events of an answer that came as one JSON object."""
        events: list[RunEvent] = []
        try:
            self._chunk(orjson.loads(body), events)
        except (orjson.JSONDecodeError, *_WRONG_SHAPE):
            events.clear()
        self._complete = bool(events) or self._finish is not None
        self.garbage = not self._complete and not self.error
        self.done = True
        return events

    def _line(self, line: bytes, events: list[RunEvent]) -> None:
        if line == b"data: [DONE]":  # for orjson it would be an error, which costs more
            self._complete = self.done = True
            return
        payload, before = line[5:], len(events)
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            payload = payload.strip()
            if payload == b"[DONE]":
                self._complete = self.done = True
            elif payload:
                raise
            return
        self._chunk(chunk, events)
        if len(events) == before + 1:
            event = events[before]
            if type(event) is TextDelta and event.logprobs is None and self._only_says(chunk):
                self._texts.learn(line, event.text)

    def _only_says(self, chunk: dict[str, Any]) -> bool:
        """Whether a chunk of one event changed nothing else, and would not in a later place."""
        choices = chunk["choices"]
        if len(choices) > 1 or isinstance(chunk.get("usage"), dict) or self.model is None:
            return False
        delta = choices[0].get("delta") or {}
        calls = delta.get("tool_calls") or delta.get("function_call")
        return not calls and not choices[0].get("finish_reason") and not self.done

    def _chunk(self, chunk: dict[str, Any], events: list[RunEvent]) -> None:
        choices = chunk.get("choices")
        if isinstance(usage := chunk.get("usage"), dict):
            self.usage = usage
        finish = None
        for choice in choices or ():
            if not choice.get("index"):
                finish = choice.get("finish_reason")
                self._choice(choice, events)
        if finish or not choices or self.model is None:
            self._rare(chunk, finish)

    def _rare(self, chunk: dict[str, Any], finish: str | None) -> None:
        self.model = chunk.get("model") or self.model
        self.service_tier = chunk.get("service_tier") or self.service_tier
        self.system_fingerprint = chunk.get("system_fingerprint") or self.system_fingerprint
        if finish:
            self._finish = _REASONS.get(finish, "stop")
        if error := chunk.get("error") or (chunk.get("object") == "error" and chunk):
            self.error = error
            self.done = True

    def _choice(self, choice: dict[str, Any], events: list[RunEvent]) -> None:
        delta = choice.get("delta") or choice.get("message")
        if not delta:
            return
        text = delta.get("content")
        only_text = type(text) is str and len(delta) == 1 + ("role" in delta)
        if only_text and choice.get("logprobs") is None:
            if not text:  # the first chunk of most answers
                return
            if self._chars + len(text) <= self._free_chars:
                self._pieces += 1
                self._chars += len(text)
                events.append(TextDelta(text))
                return
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            self._add(ReasoningDelta(reasoning), events)
        self._text(text, choice.get("logprobs"), events)
        self._others(delta, events)

    def _text(self, text: Any, logprobs: dict[str, Any] | None, events: list[RunEvent]) -> None:
        rows = logprobs.get("content") if logprobs else None
        if isinstance(text, list):
            self._parts(text, events)
        elif text or rows:
            self._add(TextDelta(text or "", rows or None), events)

    def _others(self, delta: dict[str, Any], events: list[RunEvent]) -> None:
        if refusal := delta.get("refusal"):
            self._add(RefusalDelta(refusal), events)
        calls = delta.get("tool_calls") or []
        if legacy := delta.get("function_call"):
            calls = [*calls, {"index": 0, "function": legacy}]
        if calls:
            self._calls = self._calls or ToolCalls()
            for event in self._calls.feed(calls):
                self._add(event, events)

    def _parts(self, parts: list[dict[str, Any]], events: list[RunEvent]) -> None:
        # Mistral's reasoning models answer in parts, the thinking in parts of its own.
        for part in parts:
            if part.get("type") == "thinking":
                inner = part["thinking"]
                texts = [inner] if isinstance(inner, str) else [each["text"] for each in inner]
                self._add(ReasoningDelta("".join(texts)), events)
            elif part.get("type") == "text":
                self._add(TextDelta(part["text"]), events)

    def _add(self, event: RunEvent, events: list[RunEvent]) -> None:
        text = getattr(event, "text", "")
        if not isinstance(text, str):
            raise TypeError
        self._pieces += 1
        self._chars += len(text)
        if self._chars > self._free_chars and self._pieces > (self._limit or 0):
            self.over_limit = self.done = True
        else:
            events.append(event)
