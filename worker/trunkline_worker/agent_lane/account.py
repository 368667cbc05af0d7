"""What a run has used, and what its limits leave."""

from collections.abc import Callable

from trunkline_shared.config.models import Limits
from trunkline_shared.events import Usage
from trunkline_worker.backends.base import Budget


class Account:
    """`used` is the run's usage so far, with all costs that are known."""

    def __init__(self, limits: Limits, used: Callable[[], Usage]) -> None:
        self._limits = limits
        self._used = used
        self._requests = 0
        self._calls = 0

    def request(self) -> str | None:
        """Counts one more request to a model; else why there may be none."""
        limit, left = self._limits.max_requests, self.left()
        if limit is not None and self._requests >= limit:
            return "limits.max_requests reached"
        if left.tokens is not None and left.tokens <= 0:
            return "limits.max_total_tokens reached"
        if left.cost is not None and left.cost <= 0:
            return "limits.max_cost reached"
        self._requests += 1
        return None

    def calls(self, count: int) -> str | None:
        """Counts so many calls of the agent's tools; else why they may not be made."""
        limit = self._limits.max_tool_calls
        if limit is not None and self._calls + count > limit:
            return "limits.max_tool_calls reached"
        self._calls += count
        return None

    def left(self, sharers: int = 1) -> Budget:
        """For each of so many who spend at once. Of what has no known price, any."""
        used = self._used()
        spent = used.input_tokens + used.output_tokens
        cost, tokens = self._limits.max_cost, self._limits.max_total_tokens
        return Budget(
            None if cost is None else (cost - (used.cost or 0.0)) / sharers,
            None if tokens is None else (tokens - spent) // sharers,
        )
