"""Runs of the coding agent in tests: its command line, a fake Anthropic, journals, two workers."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.anthropic import FakeAnthropic
from tests.worker.backends.driving import no_gate, request
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import ActivityEnd, ActivityOutput, ActivityStart, RunEvent, TextDelta
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.lane import Calling
from trunkline_worker.backends.retry import Retry
from trunkline_worker.claude_code.backend import ClaudeCodeBackend
from trunkline_worker.claude_code.build import build_claude_code
from trunkline_worker.claude_code.sessions import Taken
from trunkline_worker.prices import Prices
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.toolsets.build import Workshop

KEY = "sk-ant-planted-0123456789"
TOOLS = ({"type": "execution"}, {"type": "file_access"})


class MemorySessions:
    """Sessions as all workers of a test see them."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Taken]] = {}

    async def load(self, conversation: str) -> list[Taken]:
        return list(self.kept.get(conversation, ()))

    async def save(self, conversation: str, taken: Taken, *, new: bool) -> None:
        before = [] if new else self.kept.get(conversation, [])
        self.kept[conversation] = [*before, taken]


@dataclass
class Told:
    """What a run said and recorded so far. `grown` is set with each of either."""

    events: list[RunEvent] = field(default_factory=list)
    journal: list[bytes] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, events: Sequence[RunEvent]) -> None:
        self.events += events
        self.grown.set()

    async def record(self, entry: bytes, events: Sequence[RunEvent]) -> None:
        self.journal.append(entry)
        self.emit(events)

    async def until(self, *kinds: type[RunEvent], entry: bytes = b"") -> None:
        """Returns when events of all these kinds, and an entry that has this, were there."""
        async with asyncio.timeout(60):
            while not (
                all(any(isinstance(event, kind) for event in self.events) for kind in kinds)
                and any(entry in each for each in self.journal or [b""])
            ):
                self.grown.clear()
                await self.grown.wait()

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def outputs(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, ActivityOutput)]

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def check_activities(self) -> None:
        """Each is begun once and ended once."""
        began = [event.index for event in self.of(ActivityStart)]
        assert began == list(range(len(began)))
        assert sorted(event.index for event in self.of(ActivityEnd)) == began


async def tell(
    backend: ClaudeCodeBackend, run: RunRequest, told: Told | None = None, *, attempt: int = 1
) -> Told:
    """Runs it to its end. A later attempt gets what `told` has as its journal."""
    told = told or Told()
    context = RunContext(no_gate, told.emit, attempt, journal=tuple(told.journal))
    context.recorder = told.record
    told.emit(await backend.run(run, context))
    return told


@asynccontextmanager
async def worker(
    upstream: FakeAnthropic,
    model: str,
    root: Path,
    *,
    sessions: MemorySessions | None = None,
    **fields: Any,
) -> AsyncIterator[ClaudeCodeBackend]:
    """The backend of one worker, with a disk of its own."""
    values = {"base_url": upstream.base_url, "api_key": KEY, "toolsets": TOOLS, **fields}
    agent = AgentConfig(name="test", type="claude_code", model=model, **values)
    settings = WorkerSettings(workspaces=str(root / "workspaces"), slots=32)
    client = HttpClient()
    calling = Calling(
        client=client,
        prices=Prices(),
        retry=Retry(1, first_s=0.01),
        connect_timeout_s=5,
        silence_timeout_s=5,
    )
    workshop = Workshop(settings, {}, {}, others=None)  # type: ignore[arg-type]  # nobody delegates
    kept = sessions or MemorySessions()
    backend = build_claude_code(agent, {}, workshop, calling, kept)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.aclose()
        await client.aclose()
        for _ in range(10):  # the pipes of dead processes are closed in the loop's next turns
            await asyncio.sleep(0)


def calls(*script: tuple[str, dict[str, Any]], **fields: Any) -> RunRequest:
    """A request that the model `scripted` answers with these calls."""
    return request(json.dumps([list(call) for call in script]), **fields)


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "Bash", {"command": command}


def living(root: Path) -> list[str]:
    """Processes that work somewhere below."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(root) in os.readlink(process / "cwd"):
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
