from typing import Any

import pytest

from tests.worker.backends.driving import request
from trunkline_shared.config.models import Limits
from trunkline_shared.events import Usage
from trunkline_worker.backends.limits import OutputLimit, affordable_tokens, bounded, output_limit


@pytest.mark.parametrize(
    ("asked", "setting", "bound", "expected"),
    [
        (None, None, None, OutputLimit()),
        (5, None, None, OutputLimit(5, None, 5)),
        (5, 3, None, OutputLimit(5, None, 5)),  # a setting is what holds when the caller names none
        (None, 3, None, OutputLimit(3, "settings.max_tokens reached", 3)),
        (5, None, 4, OutputLimit(4, "limits.max_tokens reached", 4)),
        (4, None, 4, OutputLimit(4, None, 4)),
        (None, 9, 4, OutputLimit(4, "limits.max_tokens reached", 4)),
    ],
)
def test_the_least_of_all_limits_holds(
    asked: int | None, setting: int | None, bound: int | None, expected: OutputLimit
) -> None:
    options: Any = {"max_output_tokens": asked} if asked else {}
    settings: Any = {"max_output_tokens": setting} if setting else {}
    assert output_limit(options, settings, Limits(max_tokens=bound)) == expected


def test_a_budget_is_so_many_tokens_after_the_input_is_paid() -> None:
    def cost(usage: Usage) -> float:
        return usage.input_tokens * 0.001 + usage.output_tokens * 0.01

    assert affordable_tokens(1.0, 500, cost) == 50
    assert (affordable_tokens(0.4, 500, cost) or 0) < 1


def test_without_a_price_there_is_no_budget_to_enforce() -> None:
    assert affordable_tokens(1.0, 500, lambda usage: None) is None
    assert affordable_tokens(1.0, 500, lambda usage: 0.0) is None


def test_only_a_small_budget_is_sent_when_nobody_named_a_number() -> None:
    assert OutputLimit().within_budget(4096).sent == 4096
    assert OutputLimit().within_budget(4097) == OutputLimit(4097, "limits.max_cost reached", None)
    assert OutputLimit(9000, None, 9000).within_budget(5000).sent == 5000
    assert OutputLimit(7, None, 7).within_budget(5000) == OutputLimit(7, None, 7)


def test_a_summary_calls_no_tools() -> None:
    own = bounded(Limits(max_tool_calls=5), request(purpose="summary"))
    assert own.max_tool_calls == bounded(Limits(), request(purpose="summary")).max_tool_calls == 0
