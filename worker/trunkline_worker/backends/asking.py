"""Asks the models of one agent, in order, until one answers: limits, retries, fallback, costs."""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import Failed, Finished, FinishReason, RunEvent, Usage
from trunkline_shared.logs import log_event
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.chat_request import input_tokens
from trunkline_worker.backends.limits import (
    OutputLimit,
    affordable_tokens,
    limits_of,
    output_limit,
)
from trunkline_worker.backends.retry import Attempts, Retry
from trunkline_worker.backends.upstream_errors import CUT, Fault
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices

logger = logging.getLogger("trunkline.upstream")

NOTHING: Final = Usage()
_TOTAL = "limits.max_total_tokens reached"


class Answer(Protocol):
    """What a model said, beside its words. `finish` is None as long as it is not whole."""

    @property
    def finish(self) -> FinishReason | None: ...

    @property
    def output_tokens(self) -> int:
        """An estimate, for upstreams that report no usage."""

    @property
    def model(self) -> str | None: ...

    @property
    def service_tier(self) -> str | None: ...

    @property
    def system_fingerprint(self) -> str | None: ...

    def counts(self) -> Usage | None:
        """As the upstream reports them, without cost; None if it does not."""


class Call(Protocol):
    """One call of one model, which emits what is answered."""

    @property
    def fault(self) -> Fault | None:
        """Why there is no whole answer."""

    @property
    def shown(self) -> bool:
        """Whether something was emitted."""

    @property
    def answer(self) -> Answer: ...

    async def run(self) -> list[RunEvent]:
        """The last events, still to be shown. Raises what `emit` raises, and no other error."""


class Model(Protocol):
    """One of the chain. `host` is for the operator's log."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def host(self) -> str: ...


M = TypeVar("M", bound=Model)


class Chain(Generic[M]):
    """The models of one agent, first choice first; shared by all of its runs.

    A call is repeated, or given to the next model, only as long as no event of it was shown.
    """

    def __init__(
        self, agent: AgentConfig, models: Sequence[M], prices: Prices, retry: Retry | None = None
    ) -> None:
        self.agent = agent
        self.models = models
        self._prices = prices
        self._retry = retry or Retry()

    def load_prices(self) -> None:
        """Looks the models' prices up, which is slow the first time."""
        for model in self.models:
            self._prices.load(model.spec)

    async def ask(
        self,
        request: RunRequest,
        context: RunContext,
        call: Callable[[M, OutputLimit], Call],
        spent: Usage = NOTHING,
    ) -> list[RunEvent]:
        """The last events, of which the very last is a `Finished` or `Failed` with the usage.

        `call` makes the call of a model; what it raises is raised. `spent` is what of the
        run's limits is gone already.
        """
        attempts = Attempts(len(self.models), self._retry)
        fault = CUT
        pause_s: float | None = 0.0
        while pause_s is not None:
            if pause_s:
                await asyncio.sleep(pause_s)
            await context.gate()
            model = self.models[attempts.model]
            limit = self._limit(model.spec, request, limits_of(self.agent, context, request), spent)
            if limit.tokens is not None and limit.tokens < 1:
                fault = TOO_LONG if limit.detail == _TOTAL else TOO_DEAR
                pause_s = attempts.after(fault, 0.0)
                continue
            asked = call(model, limit)
            try:
                events = await asked.run()
            except asyncio.CancelledError:
                context.used(self._usage(asked.answer, request, model.spec))
                raise
            if asked.fault is None:
                return [*events, self._finished(asked.answer, request, model.spec, limit)]
            fault = asked.fault
            self._log(fault, request, model)
            if asked.shown or events:
                usage = self._usage(asked.answer, request, model.spec)
                return [*events, replace(fault.failed, usage=usage)]
            pause_s = attempts.after(fault, random.random())
        return [fault.failed]

    def _log(self, fault: Fault, request: RunRequest, model: M) -> None:
        log_event(
            logger,
            "upstream failed",
            run_id=request.run_id,
            agent=request.model or self.agent.name,
            model=model.spec.name,
            host=model.host,
            code=fault.failed.code,
            cause=fault.cause,
        )

    def _limit(
        self, spec: ModelSpec, request: RunRequest, limits: Limits, spent: Usage
    ) -> OutputLimit:
        limit = output_limit(request.options, spec.settings, limits)
        if limits.max_cost is None and limits.max_total_tokens is None:
            return limit
        asked = input_tokens(request, self.agent)
        if limits.max_total_tokens is not None:
            left = limits.max_total_tokens - spent.input_tokens - spent.output_tokens - asked
            limit = limit.or_less(left, _TOTAL)
        if limits.max_cost is not None:
            tokens = affordable_tokens(
                limits.max_cost - (spent.cost or 0.0),
                asked,
                lambda usage: self._prices.cost(spec, usage),
            )
            limit = limit.within_budget(tokens)
        return limit

    def _finished(
        self, answer: Answer, request: RunRequest, spec: ModelSpec, limit: OutputLimit
    ) -> Finished:
        usage = self._usage(answer, request, spec)
        reason = answer.finish or "stop"
        ours = reason == "length" and usage.output_tokens >= (limit.tokens or 0)
        return Finished(
            reason,
            usage,
            answer.model or spec.name,
            limit.detail if ours else None,
            answer.service_tier,
            answer.system_fingerprint,
        )

    def _usage(self, answer: Answer, request: RunRequest, spec: ModelSpec) -> Usage:
        usage = answer.counts()
        if usage is None:  # it never came, or we did not wait for it
            usage = Usage(input_tokens(request, self.agent), answer.output_tokens)
        cost = self._prices.cost(spec, usage, answer.service_tier)
        return usage if cost is None else replace(usage, cost=cost)


TOO_DEAR = Fault(
    Failed("invalid_request", "This request alone costs more than limits.max_cost allows.")
)
TOO_LONG = Fault(
    Failed("invalid_request", "This request alone takes more than limits.max_total_tokens allows.")
)
