"""What every backend promises. A new kind of agent is a new file beside this one."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest


class Unavailable(TrunklineError):
    """This run has no backend here; `str()` is what its caller is told."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a backend may know about the run around it.

    Await `gate()` before every model or tool call: it returns when this worker surely still owns
    the run (it blocks while the worker cannot reach Redis). `attempt` counts from 1.
    """

    gate: Callable[[], Awaitable[None]]
    attempt: int = 1


class Backend(Protocol):
    """Executes runs of one agent; one instance serves many runs at once.

    `run` yields batches of events in order and ends after exactly one `Finished` or `Failed`, the
    last event of the last batch. It never yields `Created` or `Attempt`. What goes wrong upstream
    is a `Failed`, never an exception; an exception is a bug and ends the run as `server_error`.
    Cancelling the consuming task closes whatever the run holds open before `run` returns.
    """

    async def open(self) -> None:
        """Called once before the first run."""

    def run(
        self, request: RunRequest, context: RunContext
    ) -> AsyncGenerator[Sequence[RunEvent], None]: ...

    async def aclose(self) -> None:
        """Called once, when no run is left."""
