"""Tool calls out of streamed deltas, whatever the upstream leaves out. Pure."""

import secrets
from typing import Any, Literal

import orjson

from trunkline_shared.events import RunEvent, ToolArgsDelta, ToolCallStart


class ToolCalls:
    """Collects one answer's calls. Each is started once, when its name is known.

    By the standard a delta names its call by `index`, and the first one has id and name. Some
    upstreams have no index, or 0 for every call, no id, or repeat id and name in every delta.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self.started = 0

    def feed(self, deltas: list[dict[str, Any]]) -> list[RunEvent]:
        events: list[RunEvent] = []
        for delta in deltas:
            call = self._call_of(delta)
            kind = "custom" if "custom" in delta else "function"
            body = delta.get(kind) or {}
            text = body.get("input" if kind == "custom" else "arguments") or ""
            if not isinstance(text, str):
                text = orjson.dumps(text).decode()
            if not call.name and (name := body.get("name")):
                call.name = str(name)
                call.index = self.started
                self.started += 1
                call_id = call.id or f"call_{secrets.token_hex(12)}"
                events.append(ToolCallStart(call.index, call_id, call.name, _kind(kind)))
                if call.arguments:
                    events.append(ToolArgsDelta(call.index, "".join(call.arguments)))
            if text:
                call.arguments.append(text)
                if call.name:
                    events.append(ToolArgsDelta(call.index, text))
        return events

    def _call_of(self, delta: dict[str, Any]) -> "_Call":
        index, call_id = delta.get("index"), delta.get("id") or ""
        known = self._known(index, call_id)
        if known is None or _begins_another(known, delta, call_id):
            known = _Call()
            self._calls.append(known)
        known.id = known.id or str(call_id)
        if isinstance(index, int):
            self._by_index[index] = known
        return known

    def _known(self, index: Any, call_id: str) -> "_Call | None":
        if isinstance(index, int):
            return self._by_index.get(index)
        same = [call for call in self._calls if call_id and call.id == call_id]
        return next(iter(same or self._calls[-1:]), None)


class _Call:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.index = -1
        self.arguments: list[str] = []


def _begins_another(known: _Call, delta: dict[str, Any], call_id: str) -> bool:
    body = delta.get("function") or delta.get("custom") or {}
    name = body.get("name")
    if not name or not known.name:
        return False
    if call_id and known.id:
        return call_id != known.id
    return name != known.name or (bool(body.get("arguments")) and _whole(known.arguments))


def _whole(arguments: list[str]) -> bool:
    try:
        orjson.loads("".join(arguments))
    except orjson.JSONDecodeError:
        return False
    return True


def _kind(kind: str) -> Literal["function", "custom"]:
    return "custom" if kind == "custom" else "function"
