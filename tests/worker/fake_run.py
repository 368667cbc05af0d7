"""A claimed run without Redis: its writer keeps what it takes, its backend does what it is told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from trunkline_shared.events import Failed, Finished, RunEvent, Usage
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest, encode_job, new_run_id
from trunkline_shared.vault import Vault
from trunkline_worker.backends.base import RunContext, Unavailable
from trunkline_worker.execute import Claimed, Execution
from trunkline_worker.frames import is_terminal
from trunkline_worker.memory import Memory
from trunkline_worker.run_writer import RunBufferFull


class FakeWriter:
    """A RunWriter whose end is acknowledged at once, unless `silent`."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.recorded: list[bytes] = []
        self.has_output = False
        self.first_output_at: float | None = None
        self.closed = False
        self.complete = False
        self.kept: tuple[bytes, bytes] | None = None
        self.silent = False
        self.full = False
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def emit(self, events: Sequence[RunEvent]) -> None:
        ended = bool(self.events) and is_terminal(self.events[-1])
        if self.closed or ended:
            return
        self.events += events
        self.has_output = self.has_output or not is_terminal(events[0])
        if is_terminal(events[-1]):
            self.complete = True
            if not self.silent:
                self.ended.set_result("ok")
        elif self.full:
            raise RunBufferFull("full")

    async def record(self, entry: bytes, events: Sequence[RunEvent]) -> None:
        self.emit(events)
        self.recorded.append(entry)

    def keep(self, result: bytes, turn: bytes) -> None:
        self.kept = result, turn

    def close(self) -> None:
        self.closed = True

    def give_up(self) -> None:
        self.close()
        self.ended.set_result("refused")


class ScriptedBackend:
    """Emits batches and returns the one with the end; records an entry with the batch that comes
    after it in a tuple; awaits events; raises what is an error.
    """

    def __init__(self, *script: Any) -> None:
        self.script = script
        self.requests: list[RunRequest] = []
        self.journals: list[Sequence[bytes]] = []
        self.closed = asyncio.Event()
        self.closing: Callable[[], Awaitable[None]] | None = None
        self.used: list[Usage] = []  # told when it is cancelled
        self.between: Callable[[], Awaitable[None]] = no_gate

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        self.requests.append(request)
        self.journals.append(context.journal)
        await context.gate()
        try:
            for step in self.script:
                await self.between()
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, tuple):
                    await context.record(*step)
                elif is_terminal(step[-1]):
                    return step  # type: ignore[no-any-return]  # a script holds anything
                else:
                    context.emit(step)
            return []
        finally:
            for usage in self.used:
                context.used(usage)
            try:
                if self.closing is not None:
                    await self.closing()
            finally:
                self.closed.set()

    async def open(self) -> None:
        """Nothing is needed."""

    async def aclose(self) -> None:
        """Nothing is held."""

    def get(self, request: RunRequest) -> "ScriptedBackend":
        """As the backends of one worker: this one, for the one agent."""
        if request.agent != "agent":
            raise Unavailable("This worker cannot run the agent.")
        return self

    def timeout_s(self, agent: str) -> float:
        return 600.0


def claimed(*, agent: str = "agent", job: bytes | None = None, **more: Any) -> Claimed:
    run_id = new_run_id()
    values: dict[str, Any] = {
        "run_id": run_id,
        "epoch": 7,
        "last_seq": 2,
        "attempt": 1,
        "remaining_s": None,
        "reply": "",
        "stream": True,
        "suspect": False,
        "slots": 1,
        "job": encode_job(RunRequest(run_id, agent)) if job is None else job,
    }
    return Claimed(**values | more)


async def no_gate() -> None:
    """The lease is surely held."""


class FakePipe:
    """Answers what the scripts would have left, by command and key."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], list[Any]] = {}

    async def send(self, command: str, key: str, *more: Any) -> list[Any]:
        return self.stored.get((command, key), [])


def execution(
    run: Claimed | None = None, pipe: FakePipe | None = None, vault: Vault | None = None
) -> tuple[Execution, FakeWriter]:
    writer = FakeWriter()
    memory = Memory(pipe or FakePipe(), Keys(), vault or Vault(None))  # type: ignore[arg-type]
    run = run or claimed()
    made = Execution(run, writer, memory, gate=no_gate, journal_bytes=100)  # type: ignore[arg-type]
    return made, writer


def code_of(writer: FakeWriter) -> str:
    """How the run ended: a failure's code, or the reason of its end."""
    last = writer.events[-1]
    assert isinstance(last, Finished | Failed)
    return last.code if isinstance(last, Failed) else last.reason
