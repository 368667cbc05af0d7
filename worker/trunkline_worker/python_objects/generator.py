"""Agents that are async generator functions: `async def agent(request): yield "text"`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, get_args

from trunkline_shared.events import RunEvent, TextDelta, Usage
from trunkline_shared.transcript import Item, Options
from trunkline_worker.python_objects.base import Ask, Piece

_PIECES = (*get_args(RunEvent), Usage)


class Generator:
    """Is given the run's request, with the agent's settings and prompts in it, and yields texts,
    events of a run, or its `Usage`."""

    def __init__(self, function: Callable[..., AsyncGenerator[Any, None]]) -> None:
        self._function = function

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        request = replace(
            ask.request,
            transcript=[*prompts(ask), *ask.request.transcript],
            options=Options(**ask.options),  # type: ignore[typeddict-item]  # its keys are these
        )
        async with aclosing(self._function(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    yield TextDelta(piece)
                elif isinstance(piece, _PIECES):
                    yield piece
                else:
                    raise TypeError(f"an agent yields texts and events, not {type(piece)}")


def prompts(ask: Ask) -> list[Item]:
    """The system prompts of the agent's configuration."""
    return [
        {"type": "message", "role": "system", "content": [{"type": "text", "text": prompt}]}
        for prompt in ask.agent.system_prompt
    ]
