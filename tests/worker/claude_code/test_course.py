"""The course of a run with messages as the SDK hands them out, and no process."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.fakes.anthropic_scripts import reply_to
from tests.worker.backends.driving import failed, finished, no_gate
from tests.worker.claude_code.bed import Told
from trunkline_shared.config.models import Limits
from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_shared.events import ActivityEnd, ActivityOutput, ActivityStart, Step, TextDelta
from trunkline_worker.backends.base import Budget, RunContext
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.backends.upstream_errors import CUT
from trunkline_worker.claude_code.allowance import Allowance
from trunkline_worker.claude_code.course import Course, Plan
from trunkline_worker.claude_code.grants import granted
from trunkline_worker.claude_code.progress import Progress
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices

SPEC = ModelSpec(provider="anthropic", name="m", base_url="http://a")
BASH = {"name": "Bash", "input_schema": {"type": "object", "properties": {"command": {}}}}


@dataclass
class StreamEvent:
    event: dict[str, Any]
    parent_tool_use_id: str | None = None


@dataclass
class ToolResultBlock:
    tool_use_id: str
    content: str
    is_error: bool | None = None


@dataclass
class UserMessage:
    content: Any


@dataclass
class SystemMessage:
    """None is sent."""


@dataclass
class ResultMessage:
    subtype: str = "success"
    is_error: bool = False
    result: str | None = None
    structured_output: Any = None


def streamed(model: str, **body: Any) -> list[StreamEvent]:
    asked = {"messages": [{"role": "user", "content": "hi"}], **body, "model": model}
    steps = list(reply_to({**asked, "stream": True}, {}, 1).steps)
    return [StreamEvent(json.loads(step.partition(b"data: ")[2])) for step in steps]  # type: ignore[union-attr, arg-type]


@dataclass
class Played:
    """One run over the messages of a script; `limits` are the agent's."""

    script: list[Any]
    limits: Limits = field(default_factory=Limits)
    in_format: bool = False
    told: Told = field(default_factory=Told)

    async def run(self) -> Told:
        context = RunContext(no_gate, self.told.emit, recorder=self.told.record)
        allowance = Allowance(self.limits, OutputLimit(), Budget(), Prices())
        self.course = Course(
            context,
            Progress(),
            granted([ExecutionTools()], {}),
            allowance,
            OutputLimit(),
            spec=SPEC,
            in_format=self.in_format,
            kill=lambda: None,
        )
        sdk = SimpleNamespace(
            ClaudeSDKClient=lambda _: self,
            ClaudeSDKError=ConnectionError,
            StreamEvent=StreamEvent,
            UserMessage=UserMessage,
            ToolResultBlock=ToolResultBlock,
            ResultMessage=ResultMessage,
            SystemMessage=SystemMessage,
        )
        self.told.emit(await self.course.run(sdk, None, Plan([])))
        return self.told

    async def connect(self) -> None:
        """As a client of the SDK."""

    async def query(self, prompt: AsyncIterator[dict[str, Any]]) -> None:
        assert [said["type"] async for said in prompt] == ["user"]

    async def receive_messages(self) -> AsyncIterator[Any]:
        for message in self.script:
            if callable(message):
                await message(self.course)
            else:
                yield message

    async def disconnect(self) -> None:
        """As a client of the SDK."""


async def test_text_is_told_and_its_end_recorded() -> None:
    told = await Played([*streamed("words-2"), ResultMessage()]).run()
    assert told.text == "w0 w1 " and finished(told.events).usage.output_tokens == 2
    assert b'"finished"' in told.journal[-1]


async def test_a_call_waits_until_its_step_is_recorded() -> None:
    events = streamed("tools", tools=[BASH])
    call_id = next(e.event["content_block"]["id"] for e in events if "content_block" in e.event)
    hook: list[asyncio.Task[Any]] = []

    async def begins(course: Course) -> None:
        begun = course.before_tool({"tool_name": "Bash"}, call_id, None)
        hook.append(asyncio.create_task(begun))  # before the answer is whole
        await asyncio.sleep(0)
        assert not hook[0].done()

    async def works(_: Course) -> None:
        await hook[0]

    result = UserMessage([ToolResultBlock(call_id, "out")])
    script = [*events[:-1], begins, events[-1], works, result, *streamed("words-1")]
    told = await Played([*script, ResultMessage()]).run()
    kinds = [type(event) for event in told.events if not isinstance(event, TextDelta)]
    assert kinds[:2] == [Step, ActivityStart] and kinds[3:5] == [ActivityOutput, ActivityEnd]
    assert [next(iter(json.loads(entry))) for entry in told.journal[:3]] == [
        "step",
        "begun",
        "ended",
    ]


async def test_a_result_that_comes_before_its_step_is_not_lost() -> None:
    events = streamed("tools", tools=[{**BASH, "name": "Unknown"}])
    call_id = next(e.event["content_block"]["id"] for e in events if "content_block" in e.event)
    early = UserMessage([ToolResultBlock(call_id, "No such tool", True)])
    told = await Played([*events[:-1], early, events[-1], ResultMessage()]).run()
    told.check_activities()
    assert told.of(ActivityEnd)[0].error == "No such tool"


async def test_an_answer_in_a_format_comes_from_the_result() -> None:
    answered = ResultMessage(structured_output={"a": 1})
    told = await Played([*streamed("words-2"), answered], in_format=True).run()
    assert told.text == '{"a":1}'
    never = await Played([*streamed("words-2"), ResultMessage()], in_format=True).run()
    assert failed(never.events).code == "invalid_output"


async def test_a_broken_answer_is_no_step_and_fails_the_run() -> None:
    async def breaks(course: Course) -> None:
        course.failed(CUT, True)

    events = streamed("words-2")
    script = [*events[:5], breaks, *events[5:], ResultMessage(is_error=True, result="API Error")]
    told = await Played(script).run()
    assert failed(told.events).message == CUT.failed.message and not told.of(Step)


async def test_a_process_that_ends_without_a_result_fails_the_run() -> None:
    told = await Played(streamed("words-2")).run()
    assert failed(told.events).code == "server_error" and told.text == "w0 w1 "
