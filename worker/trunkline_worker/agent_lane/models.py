"""The model that the agent loop asks: the agent's whole chain, and what it says while it says it.

The *token tap*: `request` makes the streaming call itself and hands on what is heard, so that no
token passes through the framework.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from pydantic_ai.messages import FinishReason, ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from trunkline_shared.errors import TrunklineError
from trunkline_shared.events import Failed, Finished, RunEvent, Usage
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.chain import LaneChain
from trunkline_worker.agent_lane.step import Heard, Step, StepCall, Wire, step_request
from trunkline_worker.backends.asking import TOO_DEAR, TOO_LONG
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.backends.shortening import is_too_long

_END: Final = "trunkline"  # where a response keeps how it ended
_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_call",
    "content_filter": "content_filter",
}

_LIMITS: Final = ((TOO_DEAR, "limits.max_cost"), (TOO_LONG, "limits.max_total_tokens"))


class StepFailed(TrunklineError):
    """No model of the chain gave a whole answer, which ends the run. `too_long`: it was asked too
    much, and nothing was shown.

    `limit` names the limit of ours that leaves nothing to go on with: what there is may be given.
    """

    def __init__(self, failed: Failed, limit: str | None = None, *, too_long: bool = False) -> None:
        super().__init__(failed.message)
        self.failed = failed
        self.limit = limit
        self.too_long = too_long


class LaneModel(Model[Any]):
    """One run's. `usage` is that of all its steps so far, of failed ones too; `last` is how the
    last step ended.

    `hear` is called with what a model says: TextDelta, ReasoningDelta, RefusalDelta, and for every
    tool call, the agent's or the caller's, ToolCallStart and ToolArgsDelta, whose indexes count
    within the step; with a Texts for many TextDeltas where the run takes them. What it raises ends
    the call and reaches whoever awaits `request`.

    Settings are the request's options over the chain's own; those of the agent are not looked at.
    """

    def __init__(
        self,
        chain: LaneChain,
        request: RunRequest,
        context: RunContext,
        hear: Callable[[Sequence[RunEvent]], None],
    ) -> None:
        # The base class's constructor loads a table of prices, for us in vain.
        self.usage = Usage()
        self.last: Finished | None = None
        self._chain = chain
        self._request = request
        self._context = context
        self._hear = hear
        self._cost = 0.0  # of what has a known price

    @property
    def model_name(self) -> str:
        return self._chain.models[0].spec.name

    @property
    def system(self) -> str:
        return self._chain.models[0].spec.provider

    @property
    def profile(self) -> ModelProfile:
        """What all models of the chain can do."""
        return self._chain.profile

    def prepare_messages(
        self,
        messages: list[ModelMessage],
        model_request_parameters: ModelRequestParameters | None = None,
    ) -> list[ModelMessage]:
        """As they are; each wire makes its own of them."""
        return messages

    @property
    def spent(self) -> Usage:
        """What counts against limits: the known costs also where others are unknown."""
        return replace(self.usage, cost=self._cost)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The whole answer, after `hear` heard it. Raises StepFailed."""
        _, prepared = self.prepare_request(None, model_request_parameters)
        heard = Heard(self._hear)
        request = step_request(self._request, messages, prepared)
        context = replace(self._context, emit=heard)
        step = Step(request, messages, model_request_parameters, context)
        calls: list[StepCall] = []

        def call(wire: Wire, limit: OutputLimit) -> StepCall:
            calls.append(wire.call(step, limit))
            return calls[-1]

        *events, end = await self._chain.ask(request, context, call, self.spent)
        if events:
            heard(events)
        if not isinstance(end, Finished):
            assert isinstance(end, Failed), end
            raise self._failed(end)
        self.count(end.usage)
        self.last = end
        return _ended(calls[-1].response(heard.events), end)

    def recall(self, response: ModelResponse) -> None:
        """Counts a response of an earlier attempt as if it had just been given."""
        ended: dict[str, Any] = (response.metadata or {}).get(_END) or {}
        self.last = Finished(usage=usage_in(response), model=response.model_name, **ended)
        self.count(self.last.usage)

    def _failed(self, failed: Failed) -> StepFailed:
        if failed.usage is not None:
            self.count(failed.usage)
        too_long = is_too_long(failed)
        used = self.usage.input_tokens or self.usage.output_tokens
        for fault, limit in _LIMITS:
            if failed is fault.failed and used:
                return StepFailed(replace(failed, usage=self.usage), limit)
        failed = replace(failed, usage=self.usage if used else None)
        return StepFailed(failed, too_long=too_long)

    def count(self, step: Usage) -> None:
        """Adds to the run's usage, also what tools used that ask models themselves."""
        self._cost += step.cost or 0.0
        self.usage = self.usage.plus(step)


def usage_in(response: ModelResponse) -> Usage:
    """The counts of a response that a LaneModel gave, in this attempt or an earlier one."""
    counts = response.usage
    return Usage(
        counts.input_tokens,
        counts.output_tokens,
        counts.cache_read_tokens,
        counts.cache_write_tokens,
        counts.output_reasoning_tokens,
        None if counts.cost is None else float(counts.cost),
    )


def _ended(response: ModelResponse, end: Finished) -> ModelResponse:
    usage = end.usage
    response.usage = RequestUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
        cost=None if usage.cost is None else Decimal(repr(usage.cost)),
    )
    response.model_name = end.model
    response.finish_reason = _REASONS[end.reason]
    ended = {
        "reason": end.reason,
        "detail": end.detail,
        "service_tier": end.service_tier,
        "system_fingerprint": end.system_fingerprint,
    }
    response.metadata = {**(response.metadata or {}), _END: ended}
    return response
