"""What every toolset promises. A new kind of toolset is a new file beside this one."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trunkline_shared.config.toolsets import Effect
from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import Usage
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Budget, RunContext

if TYPE_CHECKING:
    from trunkline_worker.sandbox.workspace import Workspace


class ToolError(TrunklineError):
    """The call failed; `str()` is what the model is told, so that it can do better."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as models see it. `parameters` is a JSON Schema of an object.

    `effect`: what is done where a worker died while the tool worked. `pure` and `idempotent` tools
    are called again; of one that may run `at_most_once` the model is told that nobody knows whether
    it did. Calls that one answer of a model has are made at once, but those of tools `in_order`,
    which work on the same things, one after another.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effect: Effect
    in_order: bool = False


def _uncounted(_: Usage) -> None:
    """Nobody keeps account."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a tool, by one run. `say` shows a piece of output while the tool still works.

    `context.gate` was awaited just before the call. A tool that asks models tells `spent` what it
    used, which counts as the run's own and against its limits; `left` is what they still allow.
    """

    call_id: str
    request: RunRequest
    context: RunContext
    workspace: "Workspace"
    say: Callable[[str], None]
    spent: Callable[[Usage], None] = _uncounted
    left: Callable[[], Budget] = Budget


class Toolset(Protocol):
    """The tools of one entry of an agent's `toolsets`, for all of its runs in this worker."""

    @property
    def name(self) -> str:
        """What clients see the tools under."""

    async def open(self) -> None:
        """Called once before the first run. May take seconds. Raises ValueError, whose `str()`
        tells the operator what to change, where the agent cannot run with it.
        """

    async def tools(self) -> Sequence[ToolSpec]:
        """What there is now; asked at the beginning of each run. Raises ToolError where nobody
        can say: the run then goes on without them.
        """

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        """What the tool gave back. Raises ToolError for what the model can do something about.

        Cancelling ends whatever the call began, within a second.
        """

    async def aclose(self) -> None:
        """Called once, when no run is left."""


def unlike(taken: Mapping[str, object], name: str) -> str:
    """`name`, or with a number where two are spelled the same for models."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name[:60]}_{number}"
    return unique


async def open_all(toolsets: Sequence[Toolset]) -> AsyncExitStack:
    """What closes them, the last one first. Raises what `open` raises; none is open then."""
    async with AsyncExitStack() as opening:
        for toolset in toolsets:
            await toolset.open()
            opening.push_async_callback(toolset.aclose)
        return opening.pop_all()
