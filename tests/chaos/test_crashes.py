"""kill -9 wherever a run can be: what is done is not done again, what is open follows its class."""

from pathlib import Path

import pytest

from tests.chaos.crashes import CELLS, PAGE, observe, promised, table

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(300)]


async def test_what_is_done_is_not_done_again_wherever_the_worker_is_killed(
    tmp_path: Path,
) -> None:
    seen = await observe(tmp_path)
    assert seen == {cell: promised(cell) for cell in CELLS}


def test_the_page_shows_what_is_promised() -> None:
    assert table({cell: promised(cell) for cell in CELLS}) in PAGE.read_text("utf-8")
