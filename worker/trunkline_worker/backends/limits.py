"""How much a run may say: the least of what the caller, the agent and its budget allow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import Usage
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Options
from trunkline_worker.backends.base import RunContext

_Number = TypeVar("_Number", int, float)

CHARS_PER_TOKEN = 4  # of English; other scripts have fewer, so estimates err to the low side


# Every chat model may say so much; more than a model can say is refused by its provider.
_ALWAYS_TAKEN = 4096


@dataclass(frozen=True, slots=True)
class OutputLimit:
    """Tokens of output, None for no bound; `detail` names the limit of ours that it comes from.

    `sent` is what the upstream is told. Above it, we count ourselves.
    """

    tokens: int | None = None
    detail: str | None = None
    sent: int | None = None

    def or_less(self, tokens: int | None, detail: str | None) -> "OutputLimit":
        if tokens is None or (self.tokens is not None and self.tokens <= tokens):
            return self
        return OutputLimit(tokens, detail, tokens)

    def within_budget(self, tokens: int | None) -> "OutputLimit":
        """Bounded by what `limits.max_cost` pays for, a number that nobody chose for the model."""
        limit = self.or_less(tokens, "limits.max_cost reached")
        if limit is self or self.sent is not None or (limit.tokens or 0) <= _ALWAYS_TAKEN:
            return limit
        return replace(limit, sent=None)


_NO_LIMIT: Final = OutputLimit()


def output_limit(options: Options, settings: Mapping[str, Any], limits: Limits) -> OutputLimit:
    """What the caller asks for, else the agent's setting; never more than `limits.max_tokens`."""
    if (asked := options.get("max_output_tokens")) is not None:
        limit = OutputLimit(asked, None, asked)
    else:
        setting = settings.get("max_output_tokens")
        limit = _NO_LIMIT.or_less(setting, "settings.max_tokens reached")
    return limit.or_less(limits.max_tokens, "limits.max_tokens reached")


def limits_of(agent: AgentConfig, context: RunContext, request: RunRequest) -> Limits:
    """The agent's own and the request's, and what is left to whoever asked it."""
    limits = bounded(agent.limits, request)
    if context.asker is None:
        return limits
    budget = context.asker.budget
    left = {
        "max_cost": _less(limits.max_cost, budget.cost),
        "max_total_tokens": _less(limits.max_total_tokens, budget.tokens),
    }
    return limits.model_copy(update=left)


def bounded(limits: Limits, request: RunRequest) -> Limits:
    """Not more calls of the agent's tools than its caller wants; for a summary there are none."""
    most = 0 if request.purpose == "summary" else request.max_tool_calls
    if most is None:
        return limits
    return limits.model_copy(update={"max_tool_calls": _less(limits.max_tool_calls, most)})


def _less(own: _Number | None, other: _Number | None) -> _Number | None:
    return min((each for each in (own, other) if each is not None), default=None)


def affordable_tokens(
    max_cost: float, input_tokens: int, cost: Callable[[Usage], float | None]
) -> int | None:
    """Output tokens that fit in `max_cost` dollars after so much input; less than 1 means none.

    None where the price is unknown or output is free.
    """
    before, after = cost(Usage(input_tokens, 0)), cost(Usage(input_tokens, 1000))
    if before is None or after is None or after <= before:
        return None
    return int((max_cost - before) / ((after - before) / 1000) + 1e-9)
