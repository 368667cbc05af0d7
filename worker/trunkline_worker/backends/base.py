"""What every backend promises. A new kind of agent is a new file beside this one."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import RunEvent, Usage
from trunkline_shared.run import RunRequest

if TYPE_CHECKING:
    from trunkline_worker.sandbox.workspace import Workspace


class Unavailable(TrunklineError):
    """This run has no backend here; `str()` is what its caller is told."""


def _forget(_: Usage) -> None:
    """For who does not count."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may still be spent, in US dollars and in tokens of input and output. None: any."""

    cost: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf a run works that no client asked for: another agent's.

    `chain` names the agents, the one that the client asked first. The run works in `workspace`,
    which is not its own to remove, and ends as by a limit of its own when `budget` is spent. It may
    ask others in turn, as deep as `depth_left`.
    """

    chain: tuple[str, ...]
    workspace: "Workspace"
    budget: Budget = Budget()
    depth_left: int = 0


@dataclass(slots=True)
class RunContext:
    """What a backend may know about the run around it, and where it says things.

    Await `gate()` before every model or tool call: it returns when this worker surely still owns
    the run (it blocks while the worker cannot reach Redis). `emit(events)` takes a batch at once,
    from wherever it is called; it raises RunBufferFull when Redis has not taken this run's events
    for too long, which must end the call and reach whoever awaits `run`. `attempt` counts from 1.

    `bulk`: to `emit`, a `Texts` may stand for as many TextDeltas. From an upstream's bytes to the
    log's they then stay JSON (0.5 µs a token less).

    `journal` holds what earlier attempts recorded, in order. It ends where a crash cut it: the step
    after that is to be done again, and says its words and begins its activities anew.

    `used(usage)` is called while `run` is being cancelled, by each part of a backend that knows of
    usage which no other part tells of.
    """

    gate: Callable[[], Awaitable[None]]
    emit: Callable[[Sequence[RunEvent]], None]
    attempt: int = 1
    bulk: bool = False
    journal: Sequence[bytes] = ()
    recorder: Callable[[bytes, Sequence[RunEvent]], Awaitable[None]] | None = None
    asker: Asker | None = None
    used: Callable[[Usage], None] = _forget

    async def record(self, entry: bytes, events: Sequence[RunEvent] = ()) -> None:
        """Emits `events` and adds `entry`, which is not empty, to the journal with the last of
        them, both or neither. Returns when Redis has them; from then on every later attempt finds
        the entry. Raises as `emit` does, and CancelledError once the run is not to go on here.

        What is not to be said again needs a `Step` after it: the words of a run since its last one
        are dropped, or end a chat stream, when its worker dies. Without events a `Step` is said, so
        that an entry alone is not for the middle of a sentence.
        """
        if self.recorder is not None:
            await self.recorder(entry, events)
        elif events:
            self.emit(events)


class Backend(Protocol):
    """Executes runs of one agent; one instance serves many runs at once.

    `run` emits batches of events in order and returns the last one, which ends with the run's only
    `Finished` or `Failed`; nothing is emitted after that. There is never a `Created` or `Attempt`.
    What goes wrong upstream is a `Failed`, never an exception; an exception is a bug and ends the
    run as `server_error`. Cancelling the task that awaits `run` closes whatever the run holds open
    before `run` ends. What is to be done after the answer, such as keeping a connection, must not
    delay the return.
    """

    async def open(self) -> None:
        """Called once before the first run."""

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]: ...

    async def aclose(self) -> None:
        """Called once, when no run is left."""
