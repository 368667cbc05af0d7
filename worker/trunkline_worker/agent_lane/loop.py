"""One run of an agent: its model is asked, its tools are called, until the model is done.

Our own loop over pydantic-ai's models and messages. Its agent would decide what callers are to
decide: it asks again where a model refuses, says nothing or is cut off, and takes no `required`.

A step is recorded before its tools are called. The last one is not: the run's end, which follows
at once, says the same.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Final, TypeAlias

from pydantic_ai.messages import (
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from trunkline_shared.events import Failed, Finished, FinishReason, RunEvent, Step, TextDelta
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.account import Account
from trunkline_worker.agent_lane.answering import Answering
from trunkline_worker.agent_lane.calls import Calls, OwnCall
from trunkline_worker.agent_lane.chain import LaneChain
from trunkline_worker.agent_lane.ear import Ear
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.agent_lane.journal import Journal
from trunkline_worker.agent_lane.models import LaneModel, StepFailed
from trunkline_worker.agent_lane.own_tools import OwnTools
from trunkline_worker.agent_lane.tool_forms import definition_of
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.formats import misfit, unusable
from trunkline_worker.backends.limits import limits_of
from trunkline_worker.backends.shortening import MAX_CUTS, shortened
from trunkline_worker.sandbox.workspace import Workspaces

_Told: TypeAlias = tuple[ModelRequestPart, ...]

_BAD_STEPS: Final = 3  # in a row, in which a model called nothing that its tools take


class Loop:
    """Asks `chain` with `tools`, in one attempt of one run."""

    def __init__(
        self,
        chain: LaneChain,
        tools: OwnTools,
        answering: Answering,
        workspaces: Workspaces,
        request: RunRequest,
        context: RunContext,
        journal: Journal,
        system_prompt: Sequence[str],
    ) -> None:
        self._request = request
        self._context = context
        self._tools = tools
        self._answering = answering
        self._callers = {tool["name"] for tool in request.tools}
        definitions = [*tools.definitions(), *map(definition_of, request.tools)]
        self._parameters = answering.parameters(definitions)
        self._system_prompt = system_prompt
        self._transcript = request.transcript
        self._messages = to_messages(request.transcript, system_prompt)
        self._given = len(self._messages)  # those that are not of this run
        self._cuts = MAX_CUTS if request.truncate else 0
        self._ear = self._listen()
        self._model = LaneModel(chain, request, context, lambda events: self._ear(events))
        limits = limits_of(chain.agent, context, request)
        self._account = Account(limits, lambda: self._model.spent)
        self._journal = journal
        self._calls = Calls(
            tools,
            request,
            context,
            self._journal,
            self._account,
            workspaces,
            self._model.count,
        )
        self._made = 0
        self._bad_steps = 0
        self._corrected = False

    async def run(self) -> Sequence[RunEvent]:
        try:
            return await self._run()
        except asyncio.CancelledError:
            self._context.used(self._model.usage)
            raise

    async def _run(self) -> Sequence[RunEvent]:
        async with self._calls:
            try:
                for step in count():
                    if (events := await self._step(step)) is not None:
                        return events
            except StepFailed as error:
                if error.limit is not None:
                    return [self._finished("length", f"{error.limit} reached")]
                return [error.failed]
        raise AssertionError("steps do not run out")

    async def _step(self, step: int) -> list[RunEvent] | None:
        """What ends the run; None: it goes on."""
        if (limit := self._account.request()) is not None:
            return [self._finished("length", limit)]
        response, recorded = await self._answer(step)
        self._messages.append(response)
        assert self._model.last is not None
        if self._model.last.reason in ("length", "content_filter"):
            return self._said(response, self._model.last)
        calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
        own = [call for call in calls if self._is_own(call.tool_name)]
        if (limit := self._account.calls(len(own))) is not None:
            return [self._finished("length", limit)]
        told = await self._call(step, response, own, recorded=recorded) if own else []
        verdict = await self._verdict(response, calls)
        if isinstance(verdict, list):
            return verdict
        if verdict is not None:
            told += verdict
            if not own and not recorded:
                await self._journal.answered(step, response, [Step()])
        self._messages.append(ModelRequest(parts=told))
        return None

    async def _answer(self, step: int) -> tuple[ModelResponse, bool]:
        """What the model says, and whether it did so in an earlier attempt."""
        self._ear = self._listen()
        response = self._journal.response(step)
        if response is None:
            return await self._ask(), False
        self._model.recall(response)
        answered = self._answering.call(response) is not None
        self._ear.showed_text = answered and self._request.stream
        return response, True

    async def _ask(self) -> ModelResponse:
        while True:
            try:
                return await self._model.request(self._messages, None, self._parameters)
            except StepFailed as error:
                if not error.too_long or not self._shorten():
                    raise

    def _shorten(self) -> bool:
        """Leaves out the oldest of what the run was given, if more of it can go."""
        shorter = shortened(self._transcript) if self._cuts else None
        if shorter is None:
            return False
        self._cuts -= 1
        self._transcript = shorter
        given = to_messages(shorter, self._system_prompt)
        self._messages[: self._given] = given
        self._given = len(given)
        return True

    async def _call(
        self, step: int, response: ModelResponse, own: list[ToolCallPart], *, recorded: bool
    ) -> list[ModelRequestPart]:
        calls = [OwnCall(self._made + n, (step, n), part) for n, part in enumerate(own)]
        self._made += len(calls)
        if not recorded:
            events = [Step(), *self._calls.starts(calls)]
            await self._journal.answered(step, response, events)
        parts, taken = await self._calls.make(calls)
        self._bad_steps = 0 if taken else self._bad_steps + 1
        return list(parts)

    async def _verdict(
        self, response: ModelResponse, calls: Sequence[ToolCallPart]
    ) -> list[RunEvent] | _Told | None:
        """What ends the run, or what the model is told beside what its calls gave."""
        if self._bad_steps == _BAD_STEPS:
            return [_lost(self._model)]
        if any(self._is_callers(call.tool_name) for call in calls):
            return [self._finished("tool_calls")]
        if calls and self._answering.call(response) is None:
            return None
        problem = await self._problem(response)
        if problem is None:
            return self._said(response, self._finished("stop"))
        if isinstance(problem, Failed):
            return [replace(problem, usage=self._model.usage)]
        return problem

    def _listen(self) -> Ear:
        answering = self._answering
        whole = not self._request.stream or answering.mode == "prompted"
        # Beside a call of the agent's own tools a text is not yet the answer.
        unsure = answering.mode == "native" and bool(self._tools)
        held = answering.check is not None and (whole or unsure)
        return Ear(
            self._context.emit,
            self._is_callers,
            held=held,
            keeps=answering.mode == "native",
            answer=answering.tool,
        )

    def _is_own(self, name: str) -> bool:
        return name != self._answering.tool and not self._is_callers(name)

    def _is_callers(self, name: str) -> bool:
        """An agent without tools leaves it to the caller what to make of an unknown name."""
        if name in self._callers:
            return True
        return not self._tools and name != self._answering.tool

    def _said(self, response: ModelResponse, end: Finished) -> list[RunEvent]:
        """What is still to be shown of the answer, and the end."""
        end = replace(end, usage=self._model.usage)
        if self._answering.check is None or self._ear.showed_text or self._ear.refused:
            return [end]
        if self._ear.kept:
            return [*self._ear.kept, end]
        text = self._answering.text(response, whole=end.reason == "stop")
        return [TextDelta(text), end] if text else [end]

    async def _problem(self, response: ModelResponse) -> Failed | _Told | None:
        """What is wrong with an answer: an end, or what to tell the model, once."""
        check = self._answering.check
        if check is None or self._ear.refused:
            return None
        try:
            problem = await check.problem(self._answering.text(response))
        except ValueError as error:
            return unusable(error)
        if problem is None:
            return None
        if self._corrected or self._ear.showed_text:
            return misfit(problem)
        self._corrected = True
        message = (
            f"Your answer does not fit the format that was asked for: {problem}. Answer again."
        )
        returned = [
            ToolReturnPart(call.tool_name, message, call.tool_call_id, outcome="failed")
            for call in self._answering.calls(response)
        ]
        return (*returned,) or (UserPromptPart(message),)

    def _finished(self, reason: FinishReason, detail: str | None = None) -> Finished:
        last = self._model.last or Finished(reason, model=self._model.model_name)
        return replace(last, reason=reason, usage=self._model.usage, detail=detail)


def _lost(model: LaneModel) -> Failed:
    message = "The model keeps calling tools that are not there, or with wrong arguments."
    return Failed("upstream_error", message, usage=model.usage)
