"""What runs a Python object: an adapter for each framework, and what it is told."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    RunEvent,
    Usage,
)
from trunkline_shared.run import RunRequest

Piece: TypeAlias = RunEvent | Usage
"""A `Usage` is all that the run has used so far."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One run. `options` are the caller's over the agent's own settings; `max_output_tokens` among
    them is what all limits allow. The agent's `system_prompt` stands before the transcript. `over`
    is set when nobody listens any more, before the stream is closed.
    """

    request: RunRequest
    agent: AgentConfig
    options: Mapping[str, Any]
    limits: Limits
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Adapter(Protocol):
    """Runs objects of one kind; one instance serves many runs at once."""

    def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """What the object says, ending with a `Finished` unless it just ends. Raises what the
        framework raises. Closing it ends what the run began.
        """


@dataclass(slots=True)
class Activities:
    """Numbers the calls of the object's own tools, which its framework knows by ids."""

    toolset: str
    _indices: dict[str, int] = field(default_factory=dict)

    def begin(self, call_id: str, name: str, arguments: str = "") -> list[RunEvent]:
        if call_id in self._indices:
            return []
        index = self._indices[call_id] = len(self._indices)
        start = ActivityStart(index, call_id, name, self.toolset)
        return [start, ActivityArgs(index, arguments)] if arguments else [start]

    def more(self, call_id: str, arguments: str) -> list[RunEvent]:
        """A piece of the arguments."""
        index = self._indices.get(call_id)
        return [] if index is None or not arguments else [ActivityArgs(index, arguments)]

    def end(self, call_id: str, output: str, error: str | None = None) -> list[RunEvent]:
        index = self._indices.get(call_id)
        if index is None:
            return []
        shown: list[RunEvent] = [ActivityOutput(index, output)] if output else []
        return [*shown, ActivityEnd(index, error)]
