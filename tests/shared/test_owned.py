"""Tasks that must not die unnoticed."""

import asyncio
import contextlib
import signal

from trunkline_shared.owned import (
    FATAL,
    end_owned,
    end_process_when_broken,
    heed_cancellation,
    start_owned,
    telling,
)


async def _break() -> None:
    raise RuntimeError("a bug")


async def test_a_task_that_dies_is_told_to_the_loop_as_fatal() -> None:
    told: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.put_nowait(context))
    task = start_owned(_break(), "the breaker")
    context = await told.get()
    assert context[FATAL]
    assert "the breaker died" in str(context["message"])
    await end_owned(task)


async def test_a_task_that_its_owner_ends_is_nobodys_business() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    task = start_owned(asyncio.sleep(3600), "the sleeper")
    await asyncio.sleep(0)
    await end_owned(task, None)
    assert task.cancelled()
    assert told == []


async def test_a_process_with_a_dead_task_is_told_to_end() -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    try:
        end_process_when_broken(loop)
        task = start_owned(_break(), "the breaker")
        await told.wait()
        await end_owned(task)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_a_cancellation_that_was_swallowed_is_heeded_later() -> None:
    went_on = asyncio.Event()

    async def swallow() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        heed_cancellation()
        went_on.set()

    task = start_owned(swallow(), "the swallower")
    await asyncio.sleep(0)
    await end_owned(task)
    assert task.cancelled() and not went_on.is_set()


async def test_a_task_that_nobody_cancelled_goes_on() -> None:
    heed_cancellation()


async def test_whoever_embeds_us_is_told_instead_of_the_loop() -> None:
    heard: asyncio.Queue[tuple[str, BaseException]] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda *told: heard.put_nowait(told[1]))  # type: ignore[arg-type]

    async def parent() -> None:
        await asyncio.wait({start_owned(_break(), "the grandchild")})

    with telling(lambda name, error: heard.put_nowait((name, error))):
        task = start_owned(parent(), "the child")
    name, error = await heard.get()
    assert (name, str(error)) == ("the grandchild", "a bug")
    await task
    assert heard.empty()
