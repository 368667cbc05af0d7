import pytest

from trunkline_shared.events import Failed
from trunkline_worker.backends.retry import Attempts, Retry
from trunkline_worker.backends.upstream_errors import Fault


def fault(retry: bool = True, fallback: bool = True, after_s: float | None = None) -> Fault:
    failed = Failed("upstream_error", "x", retry_after_s=after_s)
    return Fault(failed, retry=retry, fallback=fallback)


def test_pauses_double_up_to_the_ceiling_and_then_it_is_given_up() -> None:
    attempts = Attempts(1, Retry(retries=6))
    pauses = [attempts.after(fault(), jitter=0) for _ in range(7)]
    assert pauses == [0.5, 1, 2, 4, 8, 8, None]


def test_jitter_shortens_by_up_to_a_quarter() -> None:
    assert Attempts(1, Retry()).after(fault(), jitter=1) == pytest.approx(0.375)


def test_the_upstreams_wish_is_followed_unless_it_is_too_long() -> None:
    assert Attempts(1, Retry()).after(fault(after_s=3), jitter=1) == 3
    assert Attempts(1, Retry()).after(fault(after_s=20.5), jitter=1) is None


def test_each_model_of_the_chain_has_its_own_retries() -> None:
    attempts = Attempts(2, Retry(retries=1, first_s=1))
    seen = []
    pause = attempts.after(fault(), 0)
    while pause is not None:
        seen.append((attempts.model, pause))
        pause = attempts.after(fault(), 0)
    assert seen == [(0, 1), (1, 0), (1, 1)]


def test_what_no_retry_helps_goes_to_the_next_model_at_once() -> None:
    attempts = Attempts(2, Retry())
    assert attempts.after(fault(retry=False), 0) == 0
    assert attempts.model == 1


def test_a_callers_fault_ends_the_run() -> None:
    assert Attempts(2, Retry()).after(fault(retry=False, fallback=False), 0) is None
