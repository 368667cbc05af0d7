"""When a failed call is made again, and with which model. Pure."""

from dataclasses import dataclass

from trunkline_worker.backends.upstream_errors import Fault


@dataclass(frozen=True, slots=True)
class Retry:
    """`retries` per model; pauses double from `first_s` to `ceiling_s`. An upstream that asks to
    wait for longer than `patience_s` is given up."""

    retries: int = 2
    first_s: float = 0.5
    ceiling_s: float = 8.0
    patience_s: float = 20.0


class Attempts:
    """The calls of one run: `model` is the index of the one to call next."""

    def __init__(self, models: int, retry: Retry) -> None:
        self.model = 0
        self._models = models
        self._retry = retry
        self._retried = 0

    def after(self, fault: Fault, jitter: float) -> float | None:
        """Seconds to wait before the next call, None to give up. `jitter` is from 0 to 1."""
        pause_s = self._pause_s(fault, jitter)
        if pause_s is not None:
            self._retried += 1
            return pause_s
        if not fault.fallback or self.model + 1 >= self._models:
            return None
        self.model += 1
        self._retried = 0
        return 0.0

    def _pause_s(self, fault: Fault, jitter: float) -> float | None:
        retry, asked_s = self._retry, fault.failed.retry_after_s
        if not fault.retry or self._retried >= retry.retries:
            return None
        if asked_s is not None:
            return asked_s if asked_s <= retry.patience_s else None
        pause_s: float = min(retry.first_s * 2**self._retried, retry.ceiling_s)
        return pause_s * (1 - 0.25 * jitter)
