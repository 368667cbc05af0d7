"""Tests on asyncio's loop and on uvloop, which is the product's."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop


def each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs the test on either loop."""

    def run(loop: Callable[[], asyncio.AbstractEventLoop], **fields: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(test(**fields))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*signature.parameters.values(), loop]
    wrapped = functools.update_wrapper(run, test)
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    loops = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
    return cast(Callable[..., None], loops(wrapped))
