"""Executes one claimed run: its end is written, whatever happens, unless its lease is lost."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from trunkline_shared.events import Failed, Finished, RunEvent, Step, Terminal, Usage
from trunkline_shared.logs import log_event
from trunkline_shared.run import RunRequest, created_ms, decode_job
from trunkline_shared.transcript import Message, TextPart
from trunkline_shared.vault import Unreadable
from trunkline_worker.backends.base import Backend, RunContext, Unavailable
from trunkline_worker.compacting import Compacting
from trunkline_worker.journal import Journal
from trunkline_worker.memory import Memory, Remembered
from trunkline_worker.run_writer import RunBufferFull, RunWriter

logger = logging.getLogger("trunkline.run")

Ended = TypeVar("Ended", bound=Terminal)


class BackendsByAgent(Protocol):
    def get(self, request: RunRequest) -> Backend:
        """The backend of one run. Raises Unavailable when it cannot be executed here."""

    def timeout_s(self, agent: str) -> float:
        """For runs that came without a deadline, as stock arq's do; of an agent that `get` knew."""


class Claimed(NamedTuple):
    """One run as `claim` returned it."""

    run_id: str
    epoch: int
    last_seq: int
    attempt: int
    remaining_s: float | None
    reply: str
    stream: bool
    suspect: bool
    slots: int
    job: bytes

    @classmethod
    def parse(cls, row: Sequence[Any]) -> "Claimed":
        run_id, stream_id, attempt, remaining_ms, reply, stream, suspect, slots, job = row
        epoch, _, last_seq = stream_id.partition(b"-")
        left_ms = int(remaining_ms)
        return cls(
            run_id.decode(),
            int(epoch),
            int(last_seq),
            int(attempt),
            None if left_ms < 0 else left_ms / 1000,
            reply.decode(),
            stream == b"1",
            suspect == b"1",
            int(slots),
            job,
        )


class Execution:
    """One run in this worker, from its claim to the acknowledgement of its end."""

    def __init__(
        self,
        claimed: Claimed,
        writer: RunWriter,
        memory: Memory,
        *,
        gate: Callable[[], Awaitable[None]],
        journal_bytes: int,
    ) -> None:
        self.claimed = claimed
        self.writer = writer
        self._memory = memory
        self._journal = Journal(journal_bytes)
        self._remembered: Remembered | None = None
        self._gate = gate
        self._task: asyncio.Task[Any] | None = None
        self.failure: Failed | None = None  # how the run ended, if it failed
        self.agent: str | None = None  # known when the run begins
        # Resolved by whoever awaits `run`, when all is done.
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stopped_by: Failed | None = None
        self._used: Usage | None = None  # by a backend that was stopped
        self._acted = False  # a step was recorded, by this attempt or one before
        self._dropped = False
        self._waits_for_none = False
        self._over = False
        self._claimed_at = time.time()

    @property
    def shown(self) -> bool:
        """Whether a client has seen part of the answer."""
        return self.claimed.stream and self.writer.has_output

    @property
    def repeatable(self) -> bool:
        """Whether a later attempt can take over: nobody would see it, or nobody waits for this one
        and its readers are told that what was said is incomplete. Not of one that has its end,
        which is only to be acknowledged."""
        can_be = self._waits_for_none or not self.shown
        return can_be and not self._journal.full and not self._over

    def stop(self, failure: Failed) -> None:
        """Ends the run with this event, keeping what was said so far. Idempotent."""
        if not self._over and self._stopped_by is None and not self._dropped:
            self._stopped_by = failure
            self._cancel()

    def drop(self) -> None:
        """Ends the execution without a word: the run is somebody else's, or goes back."""
        if not self._dropped:
            self._dropped = True
            self.writer.close()
            self._cancel()
            if not self.writer.ended.done():
                self.writer.ended.set_result("dropped")

    async def run(self, backends: BackendsByAgent) -> str:
        """Returns what Redis said to the run's end, or 'dropped'.

        Raises only the cancellation of the process.
        """
        self._task = task = asyncio.current_task()
        assert task is not None
        terminal: Terminal | None
        request: RunRequest | None = None
        try:
            if self._stopped_by is not None or self._dropped:
                raise asyncio.CancelledError  # before it began
            request = decode_job(self.claimed.run_id, self.claimed.job)
            self.agent = request.agent
            self._waits_for_none = request.on_lost == "continue" and not request.reply
            terminal = await self._execute(request, backends, task.get_loop())
        except asyncio.CancelledError as error:
            if self._stopped_by is not None or self._dropped:
                task.uncancel()
                terminal = self._end(self._stopping()) if self._stopped_by else None
            elif task.cancelling():
                raise
            else:  # nobody cancelled us: something of the backend's own was
                terminal = self._bug(error)
        except ValueError as error:
            logger.error("%s", error)
            terminal = self._end(Failed("server_error", "The request could not be read."))
        self._over = True
        self.failure = terminal if isinstance(terminal, Failed) else None
        if terminal is None or self._dropped:
            return "dropped"
        answer = await self.writer.ended
        self._log(request, terminal, answer)
        return answer

    async def _execute(
        self, request: RunRequest, backends: BackendsByAgent, loop: asyncio.AbstractEventLoop
    ) -> Terminal:
        timer: asyncio.TimerHandle | None = None
        try:
            backend = backends.get(request)
            left_s = self.claimed.remaining_s
            if left_s is None:
                left_s = backends.timeout_s(request.agent)
            # The one thing that may end a run is `stop`; asyncio.timeout costs 5 µs more besides.
            timer = loop.call_later(left_s, self.stop, _TIMED_OUT)
            return await self._relay(backend, request)
        except Unavailable as error:
            return self._end(Failed("agent_unavailable", str(error)))
        except Unreadable as error:
            return self._end(Failed("agent_unavailable", f"The conversation is sealed: {error}."))
        except RunBufferFull:
            # No use to wait behind what Redis does not take.
            self.writer.give_up()
            return Failed("redis_unavailable", "The answer could not be handed on in time.")
        except Exception as error:  # noqa: BLE001  # a backend's bug must end its run, visibly
            return self._bug(error)
        finally:
            if timer is not None:
                timer.cancel()

    async def _relay(self, backend: Backend, request: RunRequest) -> Terminal:
        if request.store or request.conversation:
            self._remembered = remembered = await self._memory.begin(self.claimed, request)
            if (problem := remembered.loose_end) is not None:
                return self._end(Failed("invalid_request", problem, param="messages"))
            request = remembered.request
        if request.instructions:
            request = _instructed(request)
        attempt = self.claimed.attempt
        recorded: Sequence[bytes] = ()
        if attempt > 1:
            recorded = self._journal.read(await self._memory.journal(self.claimed.run_id))
            self._acted = bool(recorded)
        if request.compact_above is not None or request.purpose == "compact":
            backend = Compacting(backend, self._memory.vault)
        bulk = self._remembered is None
        emit = self.writer.emit if bulk else self._emit
        context = RunContext(
            self._gate, emit, attempt, bulk, recorded, self._record, used=self._note_usage
        )
        events = await backend.run(request, context)
        self._over = True  # from here to the hand-over there is no await: nothing ends it any more
        emit(events)
        if events and isinstance(events[-1], Finished | Failed):
            return events[-1]
        return self._end(Failed("server_error", "The agent stopped without an end."))

    def _stopping(self) -> Terminal:
        """What a run ends with that was stopped; one that ran out of time gives what there is."""
        assert self._stopped_by is not None
        if self._stopped_by is _TIMED_OUT and (self.writer.has_output or self._acted):
            return Finished("length", self._used or Usage(), detail="limits.timeout_s reached")
        return replace(self._stopped_by, usage=self._used)

    def _note_usage(self, usage: Usage) -> None:
        self._used = usage if self._used is None else self._used.plus(usage)

    def _bug(self, error: BaseException) -> Terminal:
        logger.error("run %s failed", self.claimed.run_id, exc_info=error)
        return self._end(Failed("server_error", "The agent failed unexpectedly."))

    def _end(self, terminal: Ended) -> Ended:
        try:
            self._emit([terminal])
        except (TypeError, ValueError):
            # What was said cannot be stored, for example half of a surrogate pair; its end can.
            self._remembered = None
            self._emit([terminal])
        return terminal

    def _emit(self, events: Sequence[RunEvent]) -> None:
        if self._remembered is not None and not self.writer.complete and events:
            self._remembered.add(events)
            if isinstance(events[-1], Finished | Failed):
                self.writer.keep(*self._remembered.kept())
        self.writer.emit(events)

    async def _record(self, entry: bytes, events: Sequence[RunEvent]) -> None:
        self._acted = True
        events = events or [Step()]
        stored = self._journal.admit(entry)
        if stored is None:
            self._emit(events)
            return
        if self._remembered is not None:
            self._remembered.add(events)
        await self.writer.record(stored, events)

    def _cancel(self) -> None:
        if self._task is not None and not self._over:
            self._task.cancel()

    def _log(self, request: RunRequest | None, terminal: Terminal, answer: str) -> None:
        usage = terminal.usage
        began_at = created_ms(self.claimed.run_id) / 1000
        first = self.writer.first_output_at
        log_event(
            logger,
            "run",
            run_id=self.claimed.run_id,
            agent=(request.model or request.agent) if request else None,
            principal=request.principal if request else None,
            purpose=(request.purpose or None) if request else None,
            status=terminal.code if isinstance(terminal, Failed) else terminal.reason,
            attempt=self.claimed.attempt,
            acknowledged=answer,
            queue_wait_ms=_ms(self._claimed_at - began_at),
            first_token_ms=None if first is None else _ms(first - began_at),
            duration_ms=_ms(time.time() - began_at),
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cost=usage.cost if usage else None,
        )


_TIMED_OUT = Failed("run_timeout", "The run did not end within its time limit.")


def _ms(seconds: float) -> float:
    return round(seconds * 10_000) / 10  # `round(…, 1)` costs ten times this


def _instructed(request: RunRequest) -> RunRequest:
    text = TextPart(type="text", text=request.instructions)
    first = Message(type="message", role="system", content=[text])
    return replace(request, transcript=[first, *request.transcript])
