import asyncio

import pytest

from tests.patience import PATIENCE_S, until
from trunkline_shared.deadline import Deadline, Patience


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


async def test_patience_ends_a_wait_that_takes_too_long_and_can_be_used_again() -> None:
    patience = Patience(0.02)
    for _ in range(3):
        with pytest.raises(TimeoutError), patience:
            await asyncio.Event().wait()
        with patience:
            await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0
    patience.close()


async def test_a_cancellation_is_no_time_out() -> None:
    inside = asyncio.Event()

    async def wait() -> None:
        patience = Patience(PATIENCE_S)
        try:
            with patience:
                inside.set()
                await asyncio.Event().wait()
        finally:
            patience.close()

    task = asyncio.create_task(wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_between_two_waits_nothing_is_cut_off() -> None:
    patience = Patience(0.02)
    with patience:
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    with patience:
        await asyncio.sleep(0)
    patience.close()


async def test_errors_inside_pass_through() -> None:
    patience = Patience(PATIENCE_S)
    with pytest.raises(ZeroDivisionError), patience:
        raise ZeroDivisionError
    patience.close()
