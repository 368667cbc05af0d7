"""One run: the command line from its start to its end, and what is told and recorded of it."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from trunkline_shared.events import Failed, Finished, FinishReason, RunEvent, Step, TextDelta, Usage
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.backends.redact import redacted
from trunkline_worker.backends.upstream_errors import Fault
from trunkline_worker.claude_code.allowance import Allowance
from trunkline_worker.claude_code.grants import ANSWER_TOOL, Grants
from trunkline_worker.claude_code.listening import Listening
from trunkline_worker.claude_code.progress import (
    Call,
    Entry,
    Progress,
    text_of_result,
)
from trunkline_worker.claude_code.prompt import Block
from trunkline_worker.models import ModelSpec
from trunkline_worker.run_writer import RunBufferFull

logger = logging.getLogger("trunkline.claude_code")

_CUT_SHORT: Final[dict[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_LAST_WORDS_S: Final = 1.0
_NO_FORMAT: Final = Failed("invalid_output", "The model gave no answer in the format asked for.")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the command line is to begin. `session` is to be resumed, else one begins anew."""

    prompt: list[Block]
    session: str | None = None


class Course:
    """`run` once."""

    def __init__(
        self,
        context: RunContext,
        progress: Progress,
        grants: Grants,
        allowance: Allowance,
        limit: OutputLimit,
        *,
        spec: ModelSpec,
        in_format: bool,
        kill: Callable[[], None],
    ) -> None:
        self._context = context
        self._progress = progress
        self._grants = grants
        self._allowance = allowance
        self._limit = limit
        self._spec = spec
        self._model = spec.name
        self._in_format = in_format
        self._kill = kill
        self._ended: asyncio.Future[list[RunEvent]] = asyncio.get_running_loop().create_future()
        self._heard: Listening | None = None
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._fault: Fault | None = None
        self._over = False
        self._early: list[Any] = []
        self._complaints: deque[str] = deque(maxlen=5)

    async def run(self, sdk: Any, options: Any, plan: Plan) -> list[RunEvent]:
        """The run's last events. Raises what `emit` raises. No process is left, however it ends."""
        client = sdk.ClaudeSDKClient(options)
        talk = asyncio.create_task(self._talk(sdk, client, plan), name="claude_code:talk")
        try:
            both: list[asyncio.Future[Any]] = [talk, self._ended]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._context.used(self._usage())
            raise
        finally:
            self._over = True
            self._kill()
            # What it said last is read to its end, so that the pipes are closed.
            await asyncio.wait([talk], timeout=_LAST_WORDS_S / 4)
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            await client.disconnect()
        if not self._ended.done():
            self._ended.set_exception(talk.exception() or RuntimeError("no result"))
        return self._ended.result()

    async def admit(self, spec: ModelSpec) -> None:
        """Before each call of a model. Does not return when there is to be none."""
        await self._gate()
        self._spec = spec
        if detail := self._allowance.forbids_asking(self._progress, self._usage()):
            await self._stop("length", detail)

    def failed(self, fault: Fault, begun: bool) -> None:
        """The model cannot be asked, or broke off what it had `begun` to say."""
        self._fault = fault
        if begun:  # what has been said is still on its way through the command line
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._fail, fault.failed)
        else:
            self._fail(fault.failed)

    async def before_tool(
        self, data: dict[str, Any], call_id: str | None, _: Any
    ) -> dict[str, Any]:
        """The SDK's hook: the call begins when this returns."""
        if data.get("tool_name") == ANSWER_TOOL or call_id is None:
            return {}
        if call_id not in self._progress.calls and self._fault is None:
            # Its step is not recorded yet.
            loop = asyncio.get_running_loop()
            await self._awaited.setdefault(call_id, loop.create_future())
        await self._gate()
        if detail := self._allowance.forbids_calling(self._progress):
            await self._stop("length", detail)
        call = self._progress.calls[call_id]
        await self._safely(self._context.record(self._progress.begin(call)))
        return {}

    def complains(self, line: str) -> None:
        """For what the command line writes to its standard error."""
        self._complaints.append(line)

    async def keep(self, session: str, entries: Sequence[Entry]) -> None:
        """For the store: the command line has added to its record."""
        self._progress.remember(session, entries)

    async def _talk(self, sdk: Any, client: Any, plan: Plan) -> None:
        try:
            await client.connect()
            await client.query(_said(plan.prompt))
            async for message in client.receive_messages():
                if not self._over:
                    await self._take(sdk, message)
            self._fail(Failed("server_error", "The agent's process ended without a result."))
        except sdk.ClaudeSDKError as error:
            if self._over:  # it was killed
                return
            logger.warning("a command line failed: %s; %s", error, " | ".join(self._complaints))
            self._fail(Failed("server_error", "The agent's process failed."))

    async def _take(self, sdk: Any, message: Any) -> None:
        if isinstance(message, sdk.StreamEvent) and message.parent_tool_use_id is None:
            await self._hear(message.event)
        elif isinstance(message, sdk.UserMessage) and isinstance(message.content, list):
            for block in message.content:
                if isinstance(block, sdk.ToolResultBlock):
                    await self._end_call(block)
        elif isinstance(message, sdk.SystemMessage) and message.subtype == "init":
            _look_at_servers(message.data)
        elif isinstance(message, sdk.ResultMessage):
            await self._conclude(message)

    async def _hear(self, event: dict[str, Any]) -> None:
        if event.get("type") == "message_start" or self._heard is None:
            first = len(self._progress.calls)
            self._heard = Listening(self._grants, first, quiet=self._in_format)
        heard = self._heard
        if events := heard.hear(event):
            self._context.emit(events)
        if not heard.complete or self._fault is not None:  # one that broke off is no step
            return
        self._heard = None
        self._model = heard.model or self._spec.name
        usage = self._allowance.priced(heard.usage, self._spec)
        await self._context.record(*self._progress.step(heard.text, usage, heard.calls))
        for call in heard.calls:
            if (waiter := self._awaited.pop(call.call_id, None)) is not None:
                waiter.set_result(None)
        early, self._early = self._early, []
        for block in early:
            await self._end_call(block)
        if reason := _CUT_SHORT.get(heard.stop or ""):
            self._finish(reason, self._limit.detail if reason == "length" else None)

    async def _end_call(self, block: Any) -> None:
        call = self._progress.calls.get(block.tool_use_id)
        if call is None:  # of a tool that is not there: its step is not over yet
            self._early.append(block)
        if call is None or call.ended:
            return
        text = text_of_result(block.content)
        error = (text or "The call failed.") if block.is_error else None
        await self._context.record(*self._progress.end(call, "" if block.is_error else text, error))

    async def _conclude(self, result: Any) -> None:
        if self._fault is not None:
            self._fail(self._fault.failed)
        elif result.subtype == "error_max_structured_output_retries":
            self._fail(_NO_FORMAT)
        elif result.is_error:
            said = redacted(result.result, ())
            message = "The agent could not go on" + (f": {said}" if said else ".")
            self._fail(Failed("upstream_error", message))
        elif self._in_format and not isinstance(result.structured_output, dict | list):
            self._fail(_NO_FORMAT)
        else:
            await self._succeed(result.structured_output)

    async def _succeed(self, answer: Any) -> None:
        finished = Finished("stop", self._usage(), self._model)
        last: list[RunEvent] = [
            Step()
        ]  # what was said is recorded with the end, and not said again
        if self._in_format:
            text = orjson.dumps(answer).decode()
            self._progress.text += text
            last.insert(0, TextDelta(text))
        await self._context.record(self._progress.finish(finished), last)
        self._end([finished])

    async def _gate(self) -> None:
        if self._fault is not None:
            self._fail(self._fault.failed)
            await asyncio.get_running_loop().create_future()
        await self._context.gate()

    def _usage(self) -> Usage:
        usage = self._progress.usage
        if self._heard is None:
            return usage
        return usage.plus(self._allowance.priced(self._heard.usage, self._spec))

    async def _stop(self, reason: FinishReason, detail: str) -> None:
        self._finish(reason, detail)
        await asyncio.get_running_loop().create_future()  # until it is cancelled: nothing goes on

    def _finish(self, reason: FinishReason, detail: str | None) -> None:
        why = detail or "The run ended before."
        self._end([*self._open_ends(why), Finished(reason, self._usage(), self._model, detail)])

    def _fail(self, failed: Failed) -> None:
        usage = self._usage() if self._progress.steps or self._heard else None
        self._end([*self._open_ends(failed.message), replace(failed, usage=usage)])

    def _open_ends(self, why: str) -> list[RunEvent]:
        open_calls: list[Call] = [c for c in self._progress.calls.values() if not c.ended]
        return [event for call in open_calls for event in call.end("", why)]

    def _end(self, events: list[RunEvent]) -> None:
        if not self._ended.done():
            self._ended.set_result(events)

    async def _safely(self, recorded: Awaitable[None]) -> None:
        """For what the SDK calls, and keeps the errors of: the run is to hear of them."""
        try:
            await recorded
        except RunBufferFull as error:
            if not self._ended.done():
                self._ended.set_exception(error)
            raise


def _look_at_servers(data: dict[str, Any]) -> None:
    """The model only hears that there is no such tool."""
    for server in data.get("mcp_servers") or ():
        if server.get("status") != "connected":
            logger.warning("MCP server %s is %s", server.get("name"), server.get("status"))


async def _said(prompt: list[Block]) -> AsyncIterator[dict[str, Any]]:
    yield {
        "type": "user",
        "message": {"role": "user", "content": prompt},
        "parent_tool_use_id": None,
    }
