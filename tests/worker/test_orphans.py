import asyncio
from typing import Any

import pytest

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_worker import orphans
from trunkline_worker.orphans import DEAF_S, EVERY_S, OrphanWatch


class Bench:
    def __init__(self) -> None:
        self.replies = {"r1": "one", "r2": "two", "r3": "one"}
        self.readers: dict[str, int] = {"one": 1, "two": 1}
        self.asked: list[tuple[str, ...]] = []
        self.trouble: Exception | None = None
        self.cancelled: list[str] = []
        self.read: set[str] = set()  # by somebody else
        self.watch = OrphanWatch(
            self,  # type: ignore[arg-type]
            Keys(),
            replies=lambda: self.replies,
            cancel=self.cancelled.append,
        )

    async def send(self, *command: Any) -> Any:
        self.asked.append(command)
        if self.trouble is not None:
            raise self.trouble
        if command[0] == "HGET":
            return b"1" if command[1].removeprefix(Keys().run("")) in self.read else None
        assert command[:2] == ("PUBSUB", "NUMSUB")
        return [part for name in command[2:] for part in (name.encode(), self.readers[name])]


async def test_runs_of_a_channel_that_nobody_hears_are_cancelled_after_ten_seconds() -> None:
    bench = Bench()
    bench.readers["one"] = 0
    await bench.watch.look(100.0)
    await bench.watch.look(100.0 + DEAF_S - 0.1)
    assert bench.cancelled == []
    await bench.watch.look(100.0 + DEAF_S)
    assert bench.cancelled == ["r1", "r3"]


async def test_a_run_that_somebody_else_reads_goes_on() -> None:
    bench = Bench()
    bench.readers["one"], bench.read = 0, {"r3"}
    await bench.watch.look(100.0)
    await bench.watch.look(100.0 + DEAF_S)
    assert bench.cancelled == ["r1"]


async def test_a_channel_that_is_heard_again_starts_anew() -> None:
    bench = Bench()
    bench.readers["one"] = 0
    await bench.watch.look(100.0)
    bench.readers["one"] = 1
    await bench.watch.look(105.0)
    bench.readers["one"] = 0
    await bench.watch.look(109.0)
    await bench.watch.look(112.0)
    assert bench.cancelled == []


async def test_a_run_that_comes_late_to_a_deaf_channel_is_cancelled_with_the_others() -> None:
    bench = Bench()
    bench.readers["one"] = 0
    await bench.watch.look(100.0)
    bench.replies["late"] = "one"
    await bench.watch.look(100.0 + DEAF_S)
    assert bench.cancelled == ["r1", "r3", "late"]


async def test_each_channel_is_asked_for_once_and_none_when_there_is_none() -> None:
    bench = Bench()
    await bench.watch.look(100.0)
    assert bench.asked == [("PUBSUB", "NUMSUB", "one", "two")]
    bench.replies.clear()
    await bench.watch.look(103.0)
    assert len(bench.asked) == 1


async def test_a_redis_that_does_not_answer_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert EVERY_S <= 3.0
    monkeypatch.setattr(orphans, "EVERY_S", 0.0)
    bench = Bench()
    bench.readers["one"] = 0
    await bench.watch.look(-1000.0)
    bench.trouble = RedisUnavailable("away")
    task = asyncio.create_task(bench.watch.run())
    while len(bench.asked) < 3:  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0)
    assert not task.done() and bench.cancelled == []
    bench.trouble = None
    while len(bench.asked) < 6:  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0)
    assert bench.cancelled == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
