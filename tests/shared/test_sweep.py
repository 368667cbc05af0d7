import asyncio
from typing import Any

import pytest

from trunkline_shared import sweep
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.sweep import EVERY_S, sweep_forever


class FakePipe:
    """Answers sweeps from a list; the last answer ends the test."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [*answers]
        self.done = asyncio.Event()

    async def call(self, script: str) -> Any:
        assert script == "sweep"
        answer = self.answers.pop(0)
        if not self.answers:
            self.done.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_redis_that_is_away_ends_no_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "EVERY_S", 0.0)
    pipe = FakePipe(RedisUnavailable("away"), [0, 0, 1], [2, 1, 0])
    task = asyncio.create_task(sweep_forever(pipe))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await pipe.done.wait()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_dead_worker_is_looked_for_twice_a_second() -> None:
    assert EVERY_S == 0.5
