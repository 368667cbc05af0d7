"""What a run's limits still allow. Pure, but for the price table."""

from dataclasses import dataclass, replace

from trunkline_shared.config.models import Limits
from trunkline_shared.events import Usage
from trunkline_worker.backends.base import Budget
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.claude_code.progress import Progress
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices


@dataclass(frozen=True, slots=True)
class Allowance:
    """Where something is forbidden, the answer says which limit was reached."""

    limits: Limits
    output: OutputLimit
    budget: Budget
    prices: Prices

    def priced(self, usage: Usage, spec: ModelSpec) -> Usage:
        """One step's, of that model."""
        return replace(usage, cost=self.prices.cost(spec, usage))

    def forbids_asking(self, progress: Progress, usage: Usage) -> str | None:
        """Whether the model may not be asked once more; `usage` is priced."""
        limits, budget = self.limits, self.budget
        tokens = usage.input_tokens + usage.output_tokens
        cost = usage.cost or 0.0
        if limits.max_requests is not None and progress.steps >= limits.max_requests:
            return "limits.max_requests reached"
        if limits.max_total_tokens is not None and tokens >= limits.max_total_tokens:
            return "limits.max_total_tokens reached"
        if limits.max_cost is not None and cost >= limits.max_cost:
            return "limits.max_cost reached"
        if budget.tokens is not None and tokens >= budget.tokens:
            return "the budget of whoever asked is spent"
        if budget.cost is not None and cost >= budget.cost:
            return "the budget of whoever asked is spent"
        if self.output.tokens is not None and usage.output_tokens >= self.output.tokens:
            return self.output.detail or "max_output_tokens reached"
        return None

    def forbids_calling(self, progress: Progress) -> str | None:
        """Whether no further tool may be called."""
        most = self.limits.max_tool_calls
        begun = sum(call.begun for call in progress.calls.values())
        return "limits.max_tool_calls reached" if most is not None and begun >= most else None
