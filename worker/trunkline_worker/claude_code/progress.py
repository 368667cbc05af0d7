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
    """One call of a tool. `begun`: it may have had its effect. `ended`: its end was told.

    `output` is what it gave back, where the command line's record may not have it yet.
    """

    index: int
    call_id: str
    name: str
    toolset: str
    arguments: str
    effect: Effect
    begun: bool = False
    ended: bool = False
    output: str | None = None

    def told(self) -> list[RunEvent]:
        start = ActivityStart(self.index, self.call_id, self.name, self.toolset)
        return [start, ActivityArgs(self.index, self.arguments)]

    def end(self, output: str, error: str | None) -> list[RunEvent]:
        said: list[RunEvent] = [ActivityOutput(self.index, output)] if output else []
        return [*said, ActivityEnd(self.index, error)]


@dataclass(slots=True)
class Progress:
    """What is done. Each thing more is an entry of the journal, and its events; what the command
    line has recorded meanwhile goes with it.
    """

    steps: int = 0
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    calls: dict[str, Call] = field(default_factory=dict)
    session: str = ""
    entries: list[Entry] = field(default_factory=list)
    finished: Finished | None = None
    _news: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, journal: Iterable[bytes]) -> "Progress":
        progress = cls()
        for entry in journal:
            progress._replay(orjson.loads(entry))
        return progress

    def step(self, text: str, usage: Usage, calls: Sequence[Call]) -> tuple[bytes, list[RunEvent]]:
        """The model has answered; `usage` is that of the step."""
        told = [event for call in calls for event in call.told()]
        step = {"text": text, "usage": asdict(usage), "calls": list(map(asdict, calls))}
        return self._entry(step=step), [Step(), *told]

    def begin(self, call: Call) -> bytes:
        """From now on the call may have had its effect."""
        return self._entry(begun=call.call_id)

    def end(self, call: Call, output: str, error: str | None) -> tuple[bytes, list[RunEvent]]:
        recorded = call.call_id in self.results()
        said = None if recorded else error or output
        return self._entry(ended=[call.call_id, said]), call.end(output, error)

    def finish(self, finished: Finished) -> bytes:
        return self._entry(finished=asdict(finished))

    def remember(self, session: str, entries: Sequence[Entry]) -> None:
        """The command line has added to its record; the next entry brings that along."""
        self.session = self._news["session"] = session
        self.entries += entries
        self._news.setdefault("entries", []).extend(entries)

    def restart(self) -> None:
        """What the record has is of no use: the command line begins anew."""
        self.session = ""
        self.entries.clear()
        self._news = {"restart": True}

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

    def _entry(self, **done: Any) -> bytes:
        self._apply(done)
        news, self._news = self._news, {}
        return orjson.dumps({**news, **done})

    def _replay(self, entry: dict[str, Any]) -> None:
        if "restart" in entry:
            self.entries.clear()
        self.session = entry.get("session", self.session)
        self.entries += entry.get("entries", ())
        self._apply(entry)

    def _apply(self, done: dict[str, Any]) -> None:
        match done:
            case {"step": step}:
                self.steps += 1
                self.text += step["text"]
                self.usage = self.usage.plus(Usage(**step["usage"]))
                self.calls |= {call["call_id"]: Call(**call) for call in step["calls"]}
            case {"begun": call_id}:
                self.calls[call_id].begun = True
            case {"ended": [call_id, output]}:
                self.calls[call_id].ended = True
                self.calls[call_id].output = output
            case {"finished": finished}:
                usage = Usage(**finished["usage"])
                self.finished = Finished(**{**finished, "usage": usage})


def text_of_result(content: Any) -> str:
    """The texts of a tool's result, which is a text or a list of parts."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
