import asyncio

from tests.patience import until
from trunkline_shared.deadline import Deadline


async def test_a_deadline_that_is_not_cleared_fires_once() -> None:
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    deadline = Deadline(lambda: fired.append(loop.time()))
    due = loop.time() + 0.02
    deadline.set(0.02)
    await until(lambda: fired)
    await asyncio.sleep(0.05)
    assert len(fired) == 1 and fired[0] >= due
    deadline.close()


async def test_a_deadline_that_is_moved_or_cleared_does_not_fire_early() -> None:
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    deadline = Deadline(lambda: fired.append(loop.time()))
    deadline.set(0.01)
    deadline.set(0.15)
    due = loop.time() + 0.1
    await until(lambda: fired)
    assert fired[0] >= due
    fired.clear()
    deadline.set(0.01)
    deadline.clear()
    await asyncio.sleep(0.05)
    assert fired == []
    deadline.close()


async def test_a_deadline_may_be_set_nearer() -> None:
    fired: list[bool] = []
    deadline = Deadline(lambda: fired.append(True))
    deadline.set(3600)
    deadline.set(0.01)
    await until(lambda: fired)
    deadline.close()


async def test_a_closed_deadline_leaves_no_timer() -> None:
    fired: list[bool] = []
    deadline = Deadline(lambda: fired.append(True))
    deadline.set(0.01)
    deadline.close()
    await asyncio.sleep(0.05)
    assert fired == []
