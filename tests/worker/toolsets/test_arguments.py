import pytest

from trunkline_worker.toolsets.arguments import number
from trunkline_worker.toolsets.base import ToolError


@pytest.mark.parametrize("given", [10**400, -(10**400), float("inf"), float("nan"), True, "1", []])
def test_what_is_no_number_that_can_be_used_is_told_to_the_model(given: object) -> None:
    with pytest.raises(ToolError, match=r"^lines must be a number\.$"):
        number({"lines": given}, "lines", 1)


def test_a_number_that_is_left_out_is_the_default() -> None:
    assert number({"lines": None}, "lines", 7) == 7 == number({}, "lines", 7)
    assert number({"lines": 10**15}, "lines", 1) == 10**15
