"""OpenHands' events of a conversation, derived from its turns. Pure.

Ids depend on the run and the place in it alone: whoever derives them again gets the same, also in
a fork. Members without a value are left out.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

import orjson

from trunkline_shared.conversation import Turn
from trunkline_shared.transcript import (
    Item,
    Message,
    Part,
    Reasoning,
    ToolCall,
    ToolResult,
    text_of,
    thought,
)

EventJson: TypeAlias = dict[str, Any]

_NAMESPACE: Final = UUID("6f2d3c52-6d0e-5c5b-9a43-6c1d3f7f2f0e")


def events_of(turns: Iterable[Turn]) -> list[list[EventJson]]:
    """The events of each turn, each event the child of the one before it."""
    calls: dict[str, tuple[str, str]] = {}
    parent: str | None = None
    found = []
    for turn in turns:
        branch = _Branch(turn, parent, calls)
        branch.grow()
        parent = branch.parent
        found.append(branch.events)
    return found


def final_response(turns: Iterable[Turn]) -> str:
    """What the agent said last; empty when it has said nothing."""
    said = ""
    for turn in turns:
        texts = [text_of(item["content"]) for item in turn.said if item["type"] == "message"]
        said = next(filter(None, reversed(texts)), said)
    return said


def iso(at_ms: int) -> str:
    """A moment as ISO 8601 in UTC, with `Z`."""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


class _Branch:
    """The events of one turn. `calls` holds event id and tool of every tool call so far."""

    def __init__(self, turn: Turn, parent: str | None, calls: dict[str, tuple[str, str]]) -> None:
        self.events: list[EventJson] = []
        self.parent = parent
        self._turn = turn
        self._calls = calls
        self._at_ms = turn.asked_ms
        self._response: dict[str, str] = {}
        self._reasoning = ""

    def grow(self) -> None:
        turn = self._turn
        self._add_items(turn.items)
        self._at_ms = turn.ended_ms
        self._response = {"llm_response_id": f"chatcmpl-{turn.run_id}"}
        self._add_items(turn.said)
        if turn.outcome == "cancelled":
            self._add("InterruptEvent", "user")
        elif not turn.counts:
            self._add(
                "ConversationErrorEvent", "environment", code=turn.outcome, detail=turn.message
            )

    def _add_items(self, items: Iterable[Item]) -> None:
        for item in items:
            match item["type"]:
                case "message":
                    self._add_message(item)
                case "reasoning":
                    self._add_reasoning(item)
                case "tool_call":
                    self._add_call(item)
                case "tool_result":
                    self._add_result(item)
        if self._reasoning:
            self._add_spoken("assistant", [])

    def _add_message(self, item: Message) -> None:
        if item["role"] in ("system", "developer"):
            prompt = _text(text_of(item["content"]))
            self._add("SystemPromptEvent", "agent", system_prompt=prompt, tools=[])
        else:
            self._add_spoken(item["role"], item["content"])

    def _add_spoken(self, role: str, parts: list[Part]) -> None:
        is_agent = role == "assistant"
        message = {"role": role, "content": [*map(_content, parts)], **self._thoughts(is_agent)}
        self._add(
            "MessageEvent",
            "agent" if is_agent else "user",
            llm_message=message,
            activated_skills=[],
            extended_content=[],
            **(self._response if is_agent else {}),
        )

    def _add_reasoning(self, item: Reasoning) -> None:
        self._reasoning += thought(item)

    def _add_call(self, item: ToolCall) -> None:
        called = {"id": item["id"], "name": item["name"], "arguments": item["arguments"]}
        own = {"action": _action(item)} if "toolset" in item else {}
        event = self._add(
            "ActionEvent",
            "agent",
            thought=[],
            **own,
            tool_name=item["name"],
            tool_call_id=item["id"],
            tool_call={**called, "origin": "completion"},
            security_risk="UNKNOWN",
            **self._thoughts(True),
            **(self._response or {"llm_response_id": ""}),
        )
        self._calls[item["id"]] = (event["id"], item["name"])

    def _add_result(self, item: ToolResult) -> None:
        action, tool = self._calls.get(item["id"], ("", ""))
        told: EventJson = {"kind": "ClientToolObservation"}
        if "toolset" in item:
            told = {"kind": "MCPToolObservation", "tool_name": tool}
        told["content"] = [*map(_content, item["content"])]
        self._add(
            "ObservationEvent",
            "environment",
            tool_name=tool,
            tool_call_id=item["id"],
            observation={**told, "is_error": item.get("is_error", False)},
            action_id=action,
            extended_content=[],
        )

    def _thoughts(self, is_agent: bool) -> EventJson:
        thoughts: EventJson = {"thinking_blocks": []}
        if is_agent and self._reasoning:
            thoughts["reasoning_content"] = self._reasoning
            self._reasoning = ""
        return thoughts

    def _add(self, kind: str, source: str, **values: Any) -> EventJson:
        place = f"{self._turn.run_id}:{len(self.events)}"
        event = {"id": str(uuid5(_NAMESPACE, place)), "timestamp": iso(self._at_ms)}
        event |= {"source": source, "kind": kind, **values}
        if self.parent is not None:
            event["parent_id"] = self.parent
        self.parent = event["id"]
        self.events.append(event)
        return event


def message_text(event: EventJson) -> Iterator[str]:
    """The words of a MessageEvent; nothing of any other."""
    message = event.get("llm_message", {})
    yield from (part["text"] for part in message.get("content", ()) if part["type"] == "text")
    if "reasoning_content" in message:
        yield message["reasoning_content"]


def _content(part: Part) -> EventJson:
    match part["type"]:
        case "text" | "refusal":
            return _text(part["text"])
        case "image":
            return {"cache_prompt": False, "type": "image", "image_urls": [part["url"]]}
        case "audio":
            return _text(f"[audio: {part['format']}]")  # OpenHands has no such parts
        case "file":
            return _text(f"[file: {part.get('filename') or part.get('file_id', '')}]")


def _action(call: ToolCall) -> EventJson:
    try:
        arguments = orjson.loads(call["arguments"])
    except orjson.JSONDecodeError:
        arguments = {}
    return {"kind": "MCPToolAction", "data": arguments if isinstance(arguments, dict) else {}}


def _text(text: str) -> EventJson:
    return {"cache_prompt": False, "type": "text", "text": text}
