"""Run events as Chat Completions: chunks of a stream, or one completion.

A stream is rendered from bytes templates, because this is what costs at the edge: everything but
the text of a delta is the same in every chunk of a run.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, assert_never

import orjson

from trunkline_api.errors import envelope, from_failure
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Attempt,
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
    Usage,
)
from trunkline_shared.fold import Folded
from trunkline_shared.frame import Texts
from trunkline_shared.run import created_ms
from trunkline_shared.transcript import ToolCall

_SILENT: Final = (
    *(Created, Attempt, Step, ToolCallStart),
    *(ActivityStart, ActivityArgs, ActivityOutput, ActivityEnd),
)
DONE: Final = b"data: [DONE]\n\n"

_MEMBER: Final[Mapping[type, str]] = MappingProxyType(
    {TextDelta: "content", ReasoningDelta: "reasoning_content", RefusalDelta: "refusal"}
)


def completion_id(run_id: str) -> str:
    """The `id` of a run's completion, and of each of its chunks."""
    return f"chatcmpl-{run_id}"


class ChatRenderer:
    """One run's events as server-sent events. Holds state: feed it every event once, in order.

    The start of a tool call leaves together with the first delta after it: until then a new
    attempt may begin the call anew, and clients cannot take an id or a name back.
    """

    heartbeat: Final = b": hb\n\n"

    def __init__(self, run_id: str, model: str, *, include_usage: bool) -> None:
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
        self._starting: dict[int, ToolCallStart] = {}
        self._custom: set[int] = set()

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

    @staticmethod
    def shows_output(event: RunEvent) -> bool:
        """Whether `render` writes something for this event, the end of the run included."""
        return not isinstance(event, _SILENT)

    @property
    def _in_text(self) -> bool:
        return self._has_role and not self._starting

    def _render_texts(self, literals: bytes, pieces: list[bytes]) -> None:
        if not self._in_text:
            first, more, literals = literals.partition(b'","')
            self._render(TextDelta(orjson.loads(b'"' + first + b'"')), pieces)
            if not more:
                return
        before, after = self._text + b'"', b'"' + self._plain
        pieces += (before, literals.replace(b'","', after + before), after)

    def _render(self, event: RunEvent, pieces: list[bytes]) -> None:
        match event:
            case TextDelta() | ReasoningDelta() | RefusalDelta():
                pieces += self._begin()
                rows = event.logprobs if isinstance(event, TextDelta) else None
                pieces.append(self._chunk({_MEMBER[type(event)]: event.text}, rows))
            case ToolCallStart() | ToolArgsDelta():
                pieces += self._call(event)
            case Finished():
                pieces += self._begin()
                pieces += self._finish(event)
            case Failed():
                pieces.append(b"data: " + envelope(from_failure(event)) + b"\n\n")
            case Created() | Attempt():
                self._starting.clear()
            case Step() | ActivityStart() | ActivityArgs() | ActivityOutput() | ActivityEnd():
                return
            case _:
                assert_never(event)

    def _call(self, event: ToolCallStart | ToolArgsDelta) -> list[bytes]:
        if isinstance(event, ToolCallStart):
            self._starting[event.index] = event
            return []
        if event.index in self._starting:
            return self._begin(event.index, event.text)
        return [*self._begin(), self._arguments(event.index, event.text)]

    def _begin(self, index: int | None = None, text: str = "") -> list[bytes]:
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

    def _chunk(self, delta: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> bytes:
        if not self._has_role:
            self._has_role = True
            delta = {"role": "assistant", "content": None} | delta
        body = self._delta + orjson.dumps(delta)[1:-1]
        if rows is None:
            return body + self._plain
        logprobs = orjson.dumps({"content": rows, "refusal": None})
        return body + b'},"logprobs":' + logprobs + b',"finish_reason":null}]' + self._end

    def _finish(self, event: Finished) -> list[bytes]:
        first = [] if self._has_role else [self._chunk({"content": ""})]
        end = b'},"logprobs":null,"finish_reason":"' + event.reason.encode() + b'"}]'
        about = _about(event)
        chunks = [*first, self._delta + end + about + self._end]
        if self._include_usage:
            usage = b',"choices":[],"usage":' + orjson.dumps(_usage(event.usage))
            chunks.append(self._head + usage + about + b"}\n\n")
        return [*chunks, DONE]


def render_completion(run_id: str, model: str, folded: Folded) -> bytes:
    """The body of a reply that is not streamed. Raises ApiError when the run failed.

    Raises ValueError when it has not ended.
    """
    match folded.terminal:
        case Finished() as finished:
            pass
        case Failed() as failed:
            raise from_failure(failed)
        case None:
            raise ValueError(f"run {run_id} has not ended")
        case _ as never:
            assert_never(never)
    logprobs = None
    if folded.logprobs is not None:
        logprobs = {"content": list(folded.logprobs), "refusal": None}
    choice = {
        "index": 0,
        "message": _message(folded),
        "logprobs": logprobs,
        "finish_reason": finished.reason,
    }
    body = orjson.dumps(
        {
            "id": completion_id(run_id),
            "object": "chat.completion",
            "created": created_ms(run_id) // 1000,
            "model": model,
            "choices": [choice],
            "usage": _usage(finished.usage),
        }
    )
    return body[:-1] + _about(finished) + b"}"


def _message(folded: Folded) -> dict[str, Any]:
    # null only where something else stands in for the text: clients send messages back, and a
    # message without any content is no valid input.
    empty = None if folded.tool_calls or folded.refusal else ""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": folded.text or empty,
        "refusal": folded.refusal or None,
        "annotations": [],
    }
    if folded.reasoning:
        message["reasoning_content"] = folded.reasoning
    if folded.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in folded.tool_calls]
    return message


def _tool_call(call: ToolCall) -> dict[str, Any]:
    value = "input" if call["kind"] == "custom" else "arguments"
    named = {"name": call["name"], value: call["arguments"]}
    return {"id": call["id"], "type": call["kind"], call["kind"]: named}


def _about(finished: Finished) -> bytes:
    pieces = b""
    if finished.service_tier is not None:
        pieces += b',"service_tier":' + orjson.dumps(finished.service_tier)
    if finished.system_fingerprint is not None:
        pieces += b',"system_fingerprint":' + orjson.dumps(finished.system_fingerprint)
    return pieces


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "cost": usage.cost,
    }
