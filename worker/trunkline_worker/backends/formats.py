"""Whether an answer has the format that its caller asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import orjson

from trunkline_shared.events import (
    Failed,
    Finished,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolCallStart,
)
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Format
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.schemas import SchemaCheck


def asks_for_format(request: RunRequest) -> bool:
    return request.format is not None and request.format["type"] != "text"


class FormatCheck:
    """Of `json_object` and `json_schema`. Works beside the loop: callers' schemas may be slow."""

    def __init__(self, check: SchemaCheck | None) -> None:
        """Without a `check` any object will do."""
        self._check = check

    @classmethod
    async def of(cls, wanted: Format) -> "FormatCheck":
        """Raises ValueError for a schema that is none."""
        schema = wanted.get("schema") if wanted["type"] == "json_schema" else None
        return cls(None if schema is None else await asyncio.to_thread(SchemaCheck, schema))

    async def problem(self, text: str) -> str | None:
        """What is wrong with an answer; None: nothing. Raises ValueError for a schema that cannot
        be followed.
        """
        return await asyncio.to_thread(self._problem, text)

    def _problem(self, text: str) -> str | None:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return f"it is not JSON: {error}"
        if self._check is None:
            return None if isinstance(value, dict) else "it is JSON, but not an object"
        return self._check.problem(value)


async def checked(
    request: RunRequest,
    context: RunContext,
    run: Callable[[RunContext], Awaitable[Sequence[RunEvent]]],
) -> Sequence[RunEvent]:
    """What `run` returns, but with a failure for its end where the whole text does not fit."""
    if request.format is None or not asks_for_format(request):
        return await run(context)
    try:
        check = await FormatCheck.of(request.format)
    except ValueError as error:
        return [unusable(error)]
    said: list[RunEvent] = []

    def emit(events: Sequence[RunEvent]) -> None:
        said.extend(events)
        context.emit(events)

    *last, end = await run(replace(context, emit=emit, bulk=False))
    said += last
    return [*last, await _end(check, said, end)]


async def _end(check: FormatCheck, said: Sequence[RunEvent], end: RunEvent) -> RunEvent:
    # With a call there need be no text, also where the reason is `stop`: as when it was forced.
    excused = any(isinstance(event, RefusalDelta | ToolCallStart) for event in said)
    if excused or not isinstance(end, Finished) or end.reason != "stop":
        return end
    text = "".join(event.text for event in said if isinstance(event, TextDelta))
    try:
        problem = await check.problem(text)
    except ValueError as error:
        return replace(unusable(error), usage=end.usage)
    return end if problem is None else replace(misfit(problem), usage=end.usage)


def misfit(problem: str) -> Failed:
    message = f"The model's answer does not fit the format: {problem}."
    return Failed("invalid_output", message)


def unusable(error: ValueError) -> Failed:
    message = f"The schema of the format cannot be used: {error}."
    return Failed("invalid_request", message, param="response_format")
