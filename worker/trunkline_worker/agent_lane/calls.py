"""Calls of the agent's own tools: shown, recorded, each done once."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pydantic_ai.messages import ToolCallPart, ToolReturnPart

from trunkline_shared.errors import StartError
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityOutput,
    ActivityStart,
    RunEvent,
    Usage,
)
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.account import Account
from trunkline_worker.agent_lane.answering import arguments_of
from trunkline_worker.agent_lane.journal import Journal, Outcome, Place
from trunkline_worker.agent_lane.own_tools import OwnTool, OwnTools
from trunkline_worker.backends.base import RunContext
from trunkline_worker.run_writer import RunBufferFull
from trunkline_worker.sandbox.workspace import Workspace, Workspaces
from trunkline_worker.toolsets.base import Invocation, ToolError

logger = logging.getLogger("trunkline.tools")

MAX_OUTPUT: Final = 30_000  # characters of one call that a model reads, and clients see

UNKNOWN_OUTCOME: Final = (
    "The outcome of this call is unknown: it was interrupted after it began, and may or may not "
    "have had its effect. It was not repeated."
)


@dataclass(frozen=True, slots=True)
class OwnCall:
    """`index` counts the run's activities, `place` is the call's among those of its step."""

    index: int
    place: Place
    part: ToolCallPart

    @property
    def arguments(self) -> str:
        return arguments_of(self.part)


class _Workspace:
    """The run's: another agent's, or one of its own that is made when a tool first wants it."""

    def __init__(self, workspaces: Workspaces, request: RunRequest, context: RunContext) -> None:
        self._workspaces = workspaces
        self._request = request
        self._lock = asyncio.Lock()
        self._opened = context.asker.workspace if context.asker else None
        self.stack = AsyncExitStack()

    async def get(self) -> Workspace:
        """Raises StartError."""
        async with self._lock:
            if self._opened is None:
                opening = self._workspaces.open(self._request)
                self._opened = await self.stack.enter_async_context(opening)
            return self._opened


class Calls:
    """Of one run. Closes the workspace at its end, in `async with`."""

    def __init__(
        self,
        tools: OwnTools,
        request: RunRequest,
        context: RunContext,
        journal: Journal,
        account: Account,
        workspaces: Workspaces,
        spent: Callable[[Usage], None],
    ) -> None:
        self._tools = tools
        self._request = request
        self._context = context
        self._journal = journal
        self._account = account
        self._spent = spent
        self._sharers: dict[int, int] = {}  # how many calls of a toolset, by id(), are made at once
        self._workspace = _Workspace(workspaces, request, context)

    async def __aenter__(self) -> "Calls":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._workspace.stack.aclose()

    def starts(self, calls: Sequence[OwnCall]) -> list[RunEvent]:
        """What shows that they are about to be made."""
        events: list[RunEvent] = []
        for call in calls:
            tool = self._tools.get(call.part.tool_name)
            toolset = tool.toolset.name if tool else ""
            part = call.part
            events += (
                ActivityStart(call.index, part.tool_call_id, part.tool_name, toolset),
                ActivityArgs(call.index, call.arguments),
            )
        return events

    async def make(self, calls: Sequence[OwnCall]) -> tuple[list[ToolReturnPart], bool]:
        """What they gave back, and whether any was a call that its tool takes."""
        known = [tool for call in calls if (tool := self._tools.get(call.part.tool_name))]
        self._sharers = Counter(id(tool.toolset) for tool in known)
        turns = asyncio.Lock()  # fair: it is had in the order in which it was asked for
        outcomes = await _together([self._in_turn(call, turns) for call in calls])
        parts = [
            ToolReturnPart(
                call.part.tool_name,
                outcome.told,
                call.part.tool_call_id,
                outcome="success" if outcome.error is None else "failed",
            )
            for call, outcome in zip(calls, outcomes, strict=True)
        ]
        return parts, any(outcome.taken for outcome in outcomes)

    async def _in_turn(self, call: OwnCall, turns: asyncio.Lock) -> Outcome:
        tool = self._tools.get(call.part.tool_name)
        async with turns if tool and tool.spec.in_order else nullcontext():
            return await self._make(call)

    async def _make(self, call: OwnCall) -> Outcome:
        if (known := self._journal.outcome(call.place)) is not None:
            if known.usage is not None:
                self._spent(known.usage)
            return known
        output = _Output(call.index, self._context)
        outcome = await self._outcome(call, output)
        await self._journal.ended(call.place, outcome, output.end(outcome))
        return outcome

    async def _outcome(self, call: OwnCall, output: "_Output") -> Outcome:
        name = call.part.tool_name
        tool = self._tools.get(name)
        if tool is None:
            return Outcome("", self._tools.unknown(name), taken=False)
        try:
            arguments = await asyncio.to_thread(self._tools.arguments, name, call.arguments)
        except ToolError as error:
            return Outcome("", str(error), taken=False)
        if self._journal.begun(call.place) and tool.spec.effect == "at_most_once":
            return Outcome("", UNKNOWN_OUTCOME)
        try:
            workspace = await self._workspace.get()
        except StartError as problem:
            logger.error("run %s: %s", self._request.run_id, problem)
            return Outcome("", "The tool has no directory to work in now.")
        return await self._call(call, tool, arguments, workspace, output)

    async def _call(
        self,
        call: OwnCall,
        tool: OwnTool,
        arguments: dict[str, object],
        workspace: Workspace,
        output: "_Output",
    ) -> Outcome:
        await self._context.gate()
        if tool.spec.effect != "pure":
            await self._journal.beginning(call.place)
        used: list[Usage] = []

        def spent(usage: Usage) -> None:
            used.append(usage)
            self._spent(usage)

        invocation = Invocation(
            call.part.tool_call_id,
            self._request,
            self._context,
            workspace,
            output.say,
            spent,
            partial(self._account.left, self._sharers[id(tool.toolset)]),
        )
        said, error = "", None
        try:
            said = await tool.toolset.call(tool.spec.name, arguments, invocation)
        except ToolError as problem:
            error = _capped(str(problem))
        except RunBufferFull:
            raise
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            error = "The call was interrupted."  # by something of the tool's own
        except Exception:  # a tool's bug is one failed call, not the run's end
            logger.exception("the tool %s failed, run %s", tool.spec.name, self._request.run_id)
            error = "The tool failed unexpectedly."
        return Outcome(_capped(said), error, _sum(used))


class _Output:
    """What one call shows of what it gives back."""

    def __init__(self, index: int, context: RunContext) -> None:
        self._index = index
        self._context = context
        self._said = ""
        self._ended = False

    def say(self, text: str) -> None:
        text = _writable(text[: MAX_OUTPUT - len(self._said)])
        if text and not self._ended:
            self._said += text
            self._context.emit([ActivityOutput(self._index, text)])

    def end(self, outcome: Outcome) -> list[RunEvent]:
        """What of the result was not shown while the tool worked, and the end."""
        self._ended = True
        output, said = outcome.output, self._said
        rest = output.removeprefix(said if output.startswith(said) else said.rstrip())
        if said.endswith(output):  # after words that are no part of the result
            rest = ""
        events: list[RunEvent] = [ActivityOutput(self._index, rest)] if rest else []
        return [*events, ActivityEnd(self._index, outcome.error)]


def _capped(text: str) -> str:
    cut = len(text) - MAX_OUTPUT
    text = text if cut <= 0 else f"{text[:MAX_OUTPUT]}\n[{cut} more characters were cut]"
    return _writable(text)


def _writable(text: str) -> str:
    """Names of files need not be text: half a surrogate pair can be told to nobody."""
    return text.encode(errors="replace").decode()


def _sum(used: list[Usage]) -> Usage | None:
    if not used:
        return None
    costs = [each.cost for each in used]
    known = [cost for cost in costs if cost is not None]
    return Usage(
        sum(each.input_tokens for each in used),
        sum(each.output_tokens for each in used),
        sum(each.cached_tokens for each in used),
        sum(each.cache_write_tokens for each in used),
        sum(each.reasoning_tokens for each in used),
        sum(known) if len(known) == len(costs) else None,
    )


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _together(calls: Sequence[Coroutine[Any, Any, Outcome]]) -> list[Outcome]:
    """All of them at once. Raises what the first one raises, after the others have ended."""
    if len(calls) == 1:
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call, name="tool") for call in calls]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
