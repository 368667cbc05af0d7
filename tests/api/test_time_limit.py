import asyncio

import pytest

from trunkline_api.time_limit import TimeLimit

FAR_S = 20.0


async def wait(limit: TimeLimit) -> None:
    with limit:
        await asyncio.Event().wait()


async def test_who_waits_too_long_gets_a_timeout_and_can_go_on() -> None:
    limit = TimeLimit(0.02)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await wait(limit)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_done_in_time_is_left_alone() -> None:
    limit = TimeLimit(0.02)
    with limit:
        pass
    with pytest.raises(TimeoutError):  # of another wait, which began later and so ends later
        await wait(limit)


async def test_everybody_has_the_whole_time_whenever_they_began() -> None:
    limit, loop = TimeLimit(0.05), asyncio.get_running_loop()
    took: list[float] = []

    async def late(after_s: float) -> None:
        await asyncio.sleep(after_s)
        began = loop.time()
        with pytest.raises(TimeoutError):
            await wait(limit)
        took.append(loop.time() - began)

    async with asyncio.timeout(FAR_S):
        await asyncio.gather(*(late(number / 100) for number in range(5)))
    assert len(took) == 5
    assert all(each >= 0.049 for each in took)


async def test_a_cancellation_of_somebody_else_goes_on_as_such() -> None:
    task = asyncio.create_task(wait(TimeLimit(FAR_S)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_timeout_is_not_lost() -> None:
    async def wait_and_be_cancelled() -> None:
        with TimeLimit(0.01):
            try:
                await asyncio.Event().wait()
            finally:
                task.cancel()

    task = asyncio.create_task(wait_and_be_cancelled())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_from_inside_passes_through() -> None:
    with pytest.raises(KeyError), TimeLimit(FAR_S):
        raise KeyError
