"""One step of a run: what its model is asked, in the forms that the different wires need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pydantic_ai.messages import InstructionPart, ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.profiles import ModelProfile

from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_shared.transcript import Format, Item, Message, ToolChoice
from trunkline_worker.agent_lane.history import to_items
from trunkline_worker.agent_lane.tool_forms import tool_of
from trunkline_worker.backends.asking import Call, Model
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.limits import OutputLimit


@dataclass(slots=True)
class Heard:
    """Takes down what a model says, and passes it on at once."""

    hear: Callable[[Sequence[RunEvent]], None]
    events: list[RunEvent] = field(default_factory=list)

    def __call__(self, events: Sequence[RunEvent]) -> None:
        self.events += events
        self.hear(events)


@dataclass(frozen=True, slots=True)
class Step:
    """`messages` and `parameters` are the agent's own; `request` is what they mean: the run's
    request with the transcript so far, and with the tools, choice and format of this step.

    `context.emit` hears what the model says.
    """

    request: RunRequest
    messages: list[ModelMessage]
    parameters: ModelRequestParameters
    context: RunContext


class StepCall(Call, Protocol):
    """A call that can be answered to the agent, once it is whole."""

    def response(self, events: Sequence[RunEvent]) -> ModelResponse:
        """`events` is all that was said."""


class Wire(Model, Protocol):
    """A model of an agent's chain, spoken to in its own way."""

    @property
    def profile(self) -> ModelProfile:
        """What it can do, as pydantic-ai asks it."""

    def call(self, step: Step, limit: OutputLimit) -> StepCall: ...

    async def aclose(self) -> None:
        """When no run is left."""


def step_request(
    request: RunRequest, messages: list[ModelMessage], parameters: ModelRequestParameters
) -> RunRequest:
    """The request of one step in neutral form. `parameters` are prepared for the model.

    The caller's choice of tools is about the caller's: the agent's own stay free to call, but for
    steps in which a certain tool or any tool must be called.
    """
    transcript: list[Item] = [
        *map(_instruction, parameters.instruction_parts or ()),
        *to_items(messages),
    ]
    callers = {tool["name"]: tool for tool in request.tools}
    defined = [*parameters.declared_function_tools, *parameters.output_tools]
    tools = [callers.get(each.name) or tool_of(each) for each in defined]
    own = [tool for tool in tools if tool["name"] not in callers]
    choice = request.tool_choice
    if choice is not None and choice["mode"] == "none" and own:
        tools, choice = own, None
    if choice is not None and choice["mode"] in ("allowed", "allowed_required"):
        choice = ToolChoice(mode=choice["mode"], tools=[*choice.get("tools", ()), *own])
    if parameters.output_tools and not parameters.allow_text_output:
        choice = _required(choice)
    return replace(
        request,
        transcript=transcript,
        tools=tools,
        tool_choice=choice if tools or request.tools else None,
        format=_format(request, parameters),
    )


def _instruction(part: InstructionPart) -> Message:
    text = part.content
    return Message(type="message", role="system", content=[{"type": "text", "text": text}])


def _required(choice: ToolChoice | None) -> ToolChoice:
    if choice is not None and choice["mode"] in ("named", "required", "allowed_required"):
        return choice
    if choice is not None and choice["mode"] == "allowed":
        return ToolChoice(mode="allowed_required", tools=choice.get("tools", []))
    return ToolChoice(mode="required")


def _format(request: RunRequest, parameters: ModelRequestParameters) -> Format | None:
    """What the agent wants natively; in text the caller's, who is answered with that very text."""
    if parameters.output_mode == "text":
        return request.format
    wanted = parameters.output_object
    if parameters.output_mode != "native" or wanted is None:
        return None
    form = Format(type="json_schema", name=wanted.name or "answer", schema=wanted.json_schema)
    if wanted.description is not None:
        form["description"] = wanted.description
    if wanted.strict is not None:
        form["strict"] = wanted.strict
    return form
