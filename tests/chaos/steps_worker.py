"""`python -m tests.chaos.steps_worker worker CONFIG ...`: a worker whose agent works in steps.

It asks a model and calls a tool, as often as its caller wants, asks the model again, and records
each. In its first attempt it stands still for ever at the point that the caller names, if any, for
somebody to kill the process there. What it
did is in files beside CONFIG: `did` has a line for each time a model was asked or the tool had its
effect, `at/<run id>` says where a run stands still.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trunkline.arguments import parse
from trunkline.parent_pipe import end_with_parent
from trunkline_shared.connection import make_redis
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    Finished,
    RunEvent,
    Step,
    TextDelta,
)
from trunkline_shared.logs import configure_logging
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Message
from trunkline_worker.backends.base import RunContext
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import Worker

FIRST, SECOND = "I look. ", "It said {}."
UNKNOWN = "nobody knows whether it did"


class Wanted(NamedTuple):
    """What a caller asks for: where to stand still, the tool's effect, how many calls of it."""

    point: str
    effect: str
    calls: int

    @classmethod
    def of(cls, request: RunRequest) -> "Wanted":
        last = request.transcript[-1]
        assert last["type"] == "message"
        point, effect, calls = _text(last).split("/")
        return cls(point, effect, int(calls))


class Steps:
    """The backends of this worker: one agent."""

    runnable = ("steps",)

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, request: RunRequest) -> "Steps":
        return self

    def timeout_s(self, agent: str) -> float:
        return 600.0

    async def open(self) -> None:
        """Nothing is needed."""

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        return await _Run(self._directory, request, context).work()

    async def aclose(self) -> None:
        """Nothing is held."""


class _Run:
    def __init__(self, directory: Path, request: RunRequest, context: RunContext) -> None:
        self._directory = directory
        self._run_id = request.run_id
        self._wanted = Wanted.of(request)
        self._context = context

    async def work(self) -> Sequence[RunEvent]:
        told = ""
        for call in range(1, self._wanted.calls + 1):
            await self._ask(call, FIRST)
            told = await self._tool(call)
        await self._ask(self._wanted.calls + 1, SECOND.format(told))
        return [Finished("stop")]

    async def _ask(self, number: int, text: str) -> None:
        entry = b"model %d" % number
        if entry in self._context.journal:
            return
        await self._context.gate()
        await self._at(f"before model {number}")
        self._did(f"model {number}")
        self._context.emit([TextDelta(text)])
        await self._at(f"in model {number}")
        await self._context.record(entry, [Step()])
        await self._at(f"after model {number}")

    async def _tool(self, number: int) -> str:
        begun, told = b"begun %d" % number, b"told %d " % number
        for entry in self._context.journal:
            if entry.startswith(told):
                return entry.removeprefix(told).decode()
        begin = [
            ActivityStart(number, f"call {number}", "tool", "tools"),
            ActivityArgs(number, "{}"),
        ]
        if begun in self._context.journal:
            end = ActivityEnd(number, UNKNOWN)
            await self._context.record(told + UNKNOWN.encode(), [*begin, end])
            return UNKNOWN
        await self._context.gate()
        self._context.emit(begin)
        await self._at("before tool")
        if self._wanted.effect == "at_most_once":
            await self._context.record(begun)
        await self._at("begun tool")
        self._did(f"tool {number}")
        self._context.emit([ActivityOutput(number, "done")])
        await self._at("in tool")
        await self._context.record(told + b"done", [ActivityEnd(number)])
        await self._at("after tool")
        return "done"

    def _did(self, what: str) -> None:
        with (self._directory / "did").open("a") as log:
            log.write(f"{self._run_id} {what}\n")

    async def _at(self, point: str) -> None:
        if point == self._wanted.point and self._context.attempt == 1:
            (self._directory / "at" / self._run_id).write_text(point)
            await asyncio.Event().wait()


def _text(message: Message) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


async def _serve(settings: WorkerSettings, directory: Path) -> None:
    client = make_redis(settings, socket_timeout=None, health_check_interval=0)
    await Worker(settings, client, Steps(directory)).async_run()
    await client.aclose()


def _main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.parent_pipe is not None:
        end_with_parent(arguments.parent_pipe)
    settings = WorkerSettings.from_environ(os.environ, **arguments.options)
    configure_logging(settings.log_format, settings.log_level)
    assert arguments.config is not None
    asyncio.run(_serve(settings, Path(arguments.config).parent))


if __name__ == "__main__":
    _main()
