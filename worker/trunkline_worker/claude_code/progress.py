"""How far a run has come, as its journal has it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from trunkline_shared.config.toolsets import Effect
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Finished,
    RunEvent,
    Step,
    Usage,
)

Entry = dict[str, Any]
"""One line of the command line's own record of a session."""

UNKNOWN = "The worker was lost while this worked; nobody knows whether it was done."
UNDONE = "The worker was lost before this was done."


@dataclass(slots=True)
class Call:
    """One call of a tool. `begun`: it may have had its effect. `ended`: its end was told."""

    index: int
    call_id: str
    name: str
    toolset: str
    arguments: str
    effect: Effect
    begun: bool = False
    ended: bool = False

    def told(self) -> list[RunEvent]:
        start = ActivityStart(self.index, self.call_id, self.name, self.toolset)
        return [start, ActivityArgs(self.index, self.arguments)]

    def end(self, output: str, error: str | None) -> list[RunEvent]:
        said: list[RunEvent] = [ActivityOutput(self.index, output)] if output else []
        return [*said, ActivityEnd(self.index, error)]


@dataclass(slots=True)
class Progress:
    """What is done. Each method answers the journal's entry for one thing more, and its events."""

    steps: int = 0
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    calls: dict[str, Call] = field(default_factory=dict)
    session: str = ""
    entries: list[Entry] = field(default_factory=list)
    finished: Finished | None = None

    @classmethod
    def of(cls, journal: Iterable[bytes]) -> "Progress":
        progress = cls()
        for entry in journal:
            progress._replay(orjson.loads(entry))
        return progress

    def step(self, text: str, usage: Usage, calls: Sequence[Call]) -> tuple[bytes, list[RunEvent]]:
        """The model has answered; `usage` is that of the step."""
        entry = {"step": {"text": text, "usage": asdict(usage), "calls": list(map(asdict, calls))}}
        self._replay(entry)
        told = [event for call in calls for event in call.told()]
        return orjson.dumps(entry), [Step(), *told]

    def begin(self, call: Call) -> bytes:
        """From now on the call may have had its effect."""
        call.begun = True
        return orjson.dumps({"begun": call.call_id})

    def end(self, call: Call, output: str, error: str | None) -> tuple[bytes, list[RunEvent]]:
        call.ended = True
        return orjson.dumps({"ended": call.call_id}), call.end(output, error)

    def remember(self, session: str, entries: Sequence[Entry]) -> bytes:
        """The command line has added to its record."""
        entry = {"session": session, "entries": list(entries)}
        self._replay(entry)
        return orjson.dumps(entry)

    def restart(self) -> bytes:
        """What the record has is of no use: the command line begins anew."""
        self._replay({"restart": True})
        return orjson.dumps({"restart": True})

    def finish(self, finished: Finished) -> bytes:
        self.finished = finished
        return orjson.dumps({"finished": asdict(finished)})

    @property
    def resumable(self) -> bool:
        """Whether the record has what the user said, so that the session can go on from it."""
        return any(entry.get("type") == "user" for entry in self.entries)

    def results(self) -> dict[str, tuple[str, bool]]:
        """What the record has as the results of calls, by their ids: the text, and if it failed."""
        found = {}
        for part in self._parts():
            if part.get("type") == "tool_result":
                failed = bool(part.get("is_error"))
                found[str(part.get("tool_use_id"))] = (text_of_result(part.get("content")), failed)
        return found

    def recorded_calls(self) -> set[str]:
        """The calls that the record knows, done or not."""
        return {str(p["id"]) for p in self._parts() if p.get("type") == "tool_use" and "id" in p}

    def _parts(self) -> Iterable[dict[str, Any]]:
        for entry in self.entries:
            message = entry.get("message")
            content = message.get("content") if isinstance(message, dict) else None
            yield from (part for part in content or () if isinstance(part, dict))

    def _replay(self, entry: dict[str, Any]) -> None:
        match entry:
            case {"step": step}:
                self.steps += 1
                self.text += step["text"]
                self.usage = added(self.usage, Usage(**step["usage"]))
                self.calls |= {call["call_id"]: Call(**call) for call in step["calls"]}
            case {"begun": call_id}:
                self.calls[call_id].begun = True
            case {"ended": call_id}:
                self.calls[call_id].ended = True
            case {"session": session, "entries": entries}:
                self.session = session
                self.entries += entries
            case {"restart": _}:
                self.session = ""
                self.entries.clear()
            case {"finished": finished}:
                usage = Usage(**finished.pop("usage"))
                self.finished = Finished(usage=usage, **finished)


def added(one: Usage, other: Usage) -> Usage:
    """Tokens of both; the cost is that of the sum, and is not known yet."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cached_tokens + other.cached_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
    )


def text_of_result(content: Any) -> str:
    """The texts of a tool's result, which is a text or a list of parts."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
