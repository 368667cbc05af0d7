"""The direct lane: one streamed chat completion of an OpenAI-compatible upstream for each run."""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import Failed, Finished, RunEvent, Usage
from trunkline_shared.logs import log_event
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.chat_request import chat_body, input_tokens
from trunkline_worker.backends.chat_stream import ChatStream
from trunkline_worker.backends.chat_usage import usage_of
from trunkline_worker.backends.exchange import Exchange, Upstream
from trunkline_worker.backends.http_client import HttpClient
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


@dataclass(frozen=True, slots=True)
class _Model:
    spec: ModelSpec
    upstream: Upstream


class ChatBackend:
    """Calls the models of one agent, in order, until one answers.

    A call is repeated, or given to the next model, only as long as no event of it was shown.
    """

    def __init__(
        self,
        agent: AgentConfig,
        models: Sequence[ModelSpec],
        client: HttpClient,
        prices: Prices,
        *,
        retry: Retry | None = None,
        connect_timeout_s: float = 10.0,
        silence_timeout_s: float = 120.0,
    ) -> None:
        self._agent = agent
        self._prices = prices
        self._retry = retry or Retry()
        self._models = [
            _Model(
                spec,
                Upstream.of(
                    spec,
                    client,
                    connect_timeout_s=connect_timeout_s,
                    silence_timeout_s=silence_timeout_s,
                ),
            )
            for spec in models
        ]

    async def open(self) -> None:
        """Looks the models' prices up, which is slow the first time."""
        for model in self._models:
            self._prices.load(model.spec)

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        attempts = Attempts(len(self._models), self._retry)
        fault = CUT
        pause_s: float | None = 0.0
        while pause_s is not None:
            if pause_s:
                await asyncio.sleep(pause_s)
            await context.gate()
            model = self._models[attempts.model]
            limit = self._limit(model.spec, request, limits_of(self._agent, context))
            if limit.tokens is not None and limit.tokens < 1:
                fault = _too_much(limit)
                pause_s = attempts.after(fault, 0.0)
                continue
            body = orjson.dumps(chat_body(request, self._agent, model.spec, limit.sent))
            exchange = Exchange(model.upstream, body, limit.tokens, context)
            events = await exchange.run()
            if exchange.fault is None:
                return [*events, self._finished(exchange.stream, request, model.spec, limit)]
            fault = exchange.fault
            log_event(
                logger,
                "upstream failed",
                run_id=request.run_id,
                agent=request.model or self._agent.name,
                model=model.spec.name,
                host=model.upstream.origin.host,
                code=fault.failed.code,
                cause=fault.cause,
            )
            if exchange.shown or events:
                usage = self._usage(exchange.stream, request, model.spec)
                return [*events, replace(fault.failed, usage=usage)]
            pause_s = attempts.after(fault, random.random())
        return [fault.failed]

    async def aclose(self) -> None:
        """The client is its owner's to close."""

    def _limit(self, spec: ModelSpec, request: RunRequest, limits: Limits) -> OutputLimit:
        limit = output_limit(request.options, spec.settings, limits)
        if limits.max_cost is None and limits.max_total_tokens is None:
            return limit
        asked = input_tokens(request, self._agent)
        if limits.max_total_tokens is not None:
            left = limits.max_total_tokens - asked
            limit = limit.or_less(left, "limits.max_total_tokens reached")
        if limits.max_cost is not None:
            tokens = affordable_tokens(
                limits.max_cost, asked, lambda usage: self._prices.cost(spec, usage)
            )
            limit = limit.within_budget(tokens)
        return limit

    def _finished(
        self, stream: ChatStream, request: RunRequest, spec: ModelSpec, limit: OutputLimit
    ) -> Finished:
        usage = self._usage(stream, request, spec)
        reason = stream.finish or "stop"
        ours = reason == "length" and usage.output_tokens >= (limit.tokens or 0)
        return Finished(
            reason,
            usage,
            stream.model or spec.name,
            limit.detail if ours else None,
            stream.service_tier,
            stream.system_fingerprint,
        )

    def _usage(self, stream: ChatStream, request: RunRequest, spec: ModelSpec) -> Usage:
        if stream.usage is not None:
            usage = usage_of(stream.usage)
        else:  # it never came, or we did not wait for it
            usage = Usage(input_tokens(request, self._agent), stream.output_tokens)
        cost = self._prices.cost(spec, usage, stream.service_tier)
        return usage if cost is None else replace(usage, cost=cost)


def _too_much(limit: OutputLimit) -> Fault:
    name = (limit.detail or "").removesuffix(" reached")
    what = "costs" if name == "limits.max_cost" else "takes"
    return Fault(Failed("invalid_request", f"This request alone {what} more than {name} allows."))
