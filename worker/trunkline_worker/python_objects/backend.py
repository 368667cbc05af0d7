"""Agents of type `python`: an object of the operator's, run by the adapter of its framework."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import (
    ActivityStart,
    Failed,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    Usage,
)
from trunkline_shared.logs import log_event
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Options
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.chat_request import input_tokens
from trunkline_worker.backends.counting import estimated
from trunkline_worker.backends.limits import OutputLimit, limits_of, output_limit
from trunkline_worker.backends.refusal import refusal
from trunkline_worker.backends.upstream_errors import of_status
from trunkline_worker.imports import load_object
from trunkline_worker.python_objects.base import Adapter, Ask, Piece
from trunkline_worker.python_objects.detect import adapter_for
from trunkline_worker.run_writer import RunBufferFull

logger = logging.getLogger("trunkline.python")

_SAID: Final = (TextDelta, RefusalDelta)
_GOING_ON: Final = (*_SAID, ReasoningDelta, ActivityStart)
_BEGUN: Final = b"begun"
_CLOSE_S: Final = 0.8


class PythonBackend:
    """What the object raises is logged and not told. As nobody knows what it does, a run whose
    worker died is begun again only if nothing of it was shown.

    A piece of text counts as a token where the object does not say what it used.
    """

    def __init__(self, agent: AgentConfig, settings: Options) -> None:
        """`settings` are the agent's own."""
        self._agent = agent
        self._settings = settings
        self._adapter: Adapter | None = None
        self._lingering: set[asyncio.Task[Exception | None]] = set()

    async def open(self) -> None:
        """Imports the object. Raises ValueError where it is not there, or no agent."""
        path = self._agent.object or ""
        self._adapter = adapter_for(await asyncio.to_thread(load_object, path), path)

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        assert self._adapter is not None  # it was opened
        if (refused := refusal(request)) is not None:
            return [refused]
        if request.purpose == "count":
            return [estimated(request, self._agent)]
        if context.journal:
            return [Failed("worker_lost", "The worker was lost while the agent worked.")]
        await context.gate()
        limits = limits_of(self._agent, context, request)
        limit = output_limit(request.options, self._settings, limits)
        options: dict[str, Any] = {**self._settings, **request.options}
        if limit.tokens is not None:
            options["max_output_tokens"] = limit.tokens
        ask = Ask(request, self._agent, options, limits)
        run = _Run(context, limit, limits, ask.over)
        driving = asyncio.create_task(_drive(self._adapter, ask, run), name=request.run_id)
        driving.add_done_callback(lambda _: ask.over.set())
        try:
            await ask.over.wait()
        except asyncio.CancelledError:
            ask.over.set()
            driving.cancel()
            context.used(self._usage(run, request))
            raise
        finally:
            await self._until_gone(driving, request)
        if run.broken is not None:
            raise run.broken
        usage = self._usage(run, request)
        if driving.done() and (error := driving.result()) is not None:
            return [self._failed(error, request, usage)]
        return [replace(run.end or Finished("stop"), usage=usage)]

    async def aclose(self) -> None:
        """The object is the operator's to close."""
        for driving in self._lingering:
            driving.cancel()

    async def _until_gone(self, driving: "asyncio.Task[Exception | None]", run: RunRequest) -> None:
        """Some frameworks lose a cancellation; nobody waits longer than a moment for them."""
        await asyncio.wait({driving}, timeout=_CLOSE_S)
        if driving.done():
            return
        log_event(logger, "agent does not end", level=logging.WARNING, run_id=run.run_id)
        driving.cancel()
        self._lingering.add(driving)
        driving.add_done_callback(self._forget)

    def _forget(self, driving: "asyncio.Task[Exception | None]") -> None:
        self._lingering.discard(driving)
        if not driving.cancelled():
            driving.exception()  # seen, so that nobody is told that it was not

    def _usage(self, run: "_Run", request: RunRequest) -> Usage:
        return run.usage or Usage(input_tokens(request, self._agent), run.tokens)

    def _failed(self, error: Exception, request: RunRequest, usage: Usage) -> Failed:
        log_event(
            logger,
            "agent failed",
            level=logging.WARNING,
            run_id=request.run_id,
            agent=self._agent.name,
            cause=f"{type(error).__name__}: {error}"[:500],
        )
        if (status := _status(error)) is not None:
            return replace(of_status(status, {}, b"", ()).failed, usage=usage)
        return Failed("server_error", "The agent failed.", usage=usage)


class _Run:
    """Passes pieces on until a limit ends it. `end` holds no usage."""

    def __init__(
        self,
        context: RunContext,
        limit: OutputLimit,
        limits: Limits,
        over: asyncio.Event,
    ) -> None:
        self._context = context
        self._limit = limit
        self._limits = limits
        self._over = over
        self._shown = False
        self._calls = 0
        self.tokens = 0
        self.usage: Usage | None = None
        self.end: Finished | Failed | None = None
        self.broken: RunBufferFull | None = None

    async def take(self, piece: Piece) -> None:
        """Sets `over` at the end; what comes after that is not heard."""
        if self._over.is_set():
            return
        try:
            await self._take(piece)
        except RunBufferFull as error:
            self.broken = error
        if self.end is not None or self.broken is not None:
            self._over.set()

    async def _take(self, piece: Piece) -> None:
        if isinstance(piece, _GOING_ON):
            self.end = self._reached(piece)
        if self.end is not None:
            return
        match piece:
            case Usage():
                self.usage = piece
            case Finished():
                cut = piece.reason == "length" and piece.detail is None
                self.end = replace(piece, detail=self._limit.detail) if cut else piece
            case Failed():
                self.end = piece
            case TextDelta() | RefusalDelta():
                self.tokens += 1
                await self._show(piece)
            case ActivityStart():
                self._calls += 1
                await self._show(piece)
            case _:
                await self._show(piece)

    def _reached(self, piece: Piece) -> Finished | None:
        """The end, where a limit keeps the run from going on with this."""
        used, limits = self.usage or Usage(), self._limits
        if isinstance(piece, _SAID) and self.tokens == self._limit.tokens:
            return Finished("length", detail=self._limit.detail)
        calls = self._calls if isinstance(piece, ActivityStart) else -1  # it is the next one
        for name, spent, most in (
            ("max_tool_calls", calls, limits.max_tool_calls),
            ("max_total_tokens", used.input_tokens + used.output_tokens, limits.max_total_tokens),
            ("max_cost", used.cost or 0.0, limits.max_cost),
        ):
            if most is not None and spent >= most:
                return Finished("length", detail=f"limits.{name} reached")
        return None

    async def _show(self, event: RunEvent) -> None:
        if self._shown:
            self._context.emit([event])
        else:
            self._shown = True
            await self._context.record(_BEGUN, [event])


async def _drive(adapter: Adapter, ask: Ask, run: _Run) -> Exception | None:
    """All of it in one task, as the frameworks need it; what the operator's code raised."""
    error: Exception | None = None
    async with aclosing(adapter.stream(ask)) as pieces:
        while not ask.over.is_set():
            piece, error = await _next(pieces)
            if piece is None:
                break
            await run.take(piece)
    return error


async def _next(pieces: AsyncGenerator[Piece, None]) -> tuple[Piece | None, Exception | None]:
    """The next piece, or why there is none: it is over, or the operator's code raised."""
    try:
        return await anext(pieces), None
    except StopAsyncIteration:
        return None, None
    except SystemExit as error:  # which would end the worker
        return None, RuntimeError(repr(error))
    except Exception as error:  # noqa: BLE001  # whatever the operator's code raises
        return None, error


def _status(error: BaseException | None) -> int | None:
    """What a model provider answered, if that is why."""
    while error is not None:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and status >= 400:
            return status
        error = error.__cause__
    return None
