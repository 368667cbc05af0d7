"""Tasks that live as long as the object that starts them."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

logger = logging.getLogger("trunkline.process")

FATAL = "trunkline_fatal"

OnDeath: TypeAlias = Callable[[str, BaseException], None]
# Inherited by every task: several of us may live in one loop, whose handler is somebody else's.
_on_death: ContextVar[OnDeath | None] = ContextVar("trunkline_on_death", default=None)


def start_owned(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task for its owner to cancel and await in the end.

    If it dies of an error before, nothing of its owner works any more although the process lives:
    `telling` says who is told, else the loop's exception handler is, with `trunkline_fatal` in its
    context.
    """
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_look)
    return task


async def end_owned(*tasks: asyncio.Task[None] | None) -> None:
    """Cancels the tasks and waits until they have ended."""
    alive = [task for task in tasks if task is not None]
    for task in alive:
        task.cancel()
    await asyncio.gather(*alive, return_exceptions=True)


def heed_cancellation() -> None:
    """Raises CancelledError if this task was cancelled and whatever it awaited has swallowed that.

    Python 3.11's `wait_for`, in which redis-py sends, does when the cancellation comes with the
    end of what it waits for.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def telling(on_death: OnDeath) -> Iterator[None]:
    """What is started inside, and by what was started inside, tells `on_death(name, error)`."""
    token = _on_death.set(on_death)
    try:
        yield
    finally:
        _on_death.reset(token)


def end_process_when_broken(loop: asyncio.AbstractEventLoop) -> None:
    """For processes of our own: a broken one ends in order, and whoever started it sees that."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get(FATAL):
            logger.critical("%s", context["message"], exc_info=context["exception"])
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def report_death(loop: asyncio.AbstractEventLoop, name: str, error: BaseException) -> None:
    """Tells whom `telling` named, else the loop's exception handler, of the end of what the process
    cannot do without."""
    if on_death := _on_death.get():
        on_death(name, error)
        return
    message = f"{name} died, the process cannot go on"
    loop.call_exception_handler({"message": message, "exception": error, FATAL: True})


def _look(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        report_death(task.get_loop(), task.get_name(), error)
