import asyncio

import pytest

from tests.patience import PATIENCE_S, until
from trunkline_shared.deadline import Deadline, Silence


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


async def test_silence_cancels_the_task_that_hears_nothing() -> None:
    silence = Silence(0.02)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    assert silence.gave_up()
    assert not silence.gave_up()
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    silence.close()


async def test_who_hears_something_now_and_then_goes_on() -> None:
    silence = Silence(0.2)
    for _ in range(10):
        await asyncio.sleep(0.05)
        silence.heard()
    silence.close()


async def test_a_cancellation_from_elsewhere_is_not_silence() -> None:
    inside = asyncio.Event()
    said: list[bool] = []

    async def wait() -> None:
        silence = Silence(PATIENCE_S)
        try:
            inside.set()
            await asyncio.Event().wait()
        finally:
            said.append(silence.gave_up())
            silence.close()

    task = asyncio.create_task(wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said == [False]


async def test_a_closed_silence_cuts_nothing_off() -> None:
    silence = Silence(0.01)
    silence.close()
    await asyncio.sleep(0.05)
