"""The direct lane's client as a wire of the agent lane: a token costs what it costs there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson
from pydantic_ai.messages import (
    ModelResponse,
    ModelResponsePart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.profiles import DEFAULT_PROFILE, ModelProfile, merge_profile

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import (
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.frame import Texts
from trunkline_worker.agent_lane.history import CUSTOM_INPUT, custom_call, refused
from trunkline_worker.agent_lane.step import Step
from trunkline_worker.backends.chat import ChatModel
from trunkline_worker.backends.chat_stream import ChatStream
from trunkline_worker.backends.exchange import Exchange
from trunkline_worker.backends.limits import OutputLimit
from trunkline_worker.backends.upstream_errors import Fault
from trunkline_worker.models import ModelSpec


class ChatCall:
    """An `Exchange`, and what was said in it as a response."""

    def __init__(self, exchange: Exchange, spec: ModelSpec) -> None:
        self._exchange = exchange
        self._spec = spec

    @property
    def fault(self) -> Fault | None:
        return self._exchange.fault

    @property
    def shown(self) -> bool:
        return self._exchange.shown

    @property
    def answer(self) -> ChatStream:
        return self._exchange.answer

    async def run(self) -> list[RunEvent]:
        return await self._exchange.run()

    def response(self, events: Sequence[RunEvent]) -> ModelResponse:
        return ModelResponse(
            parts=response_parts(events),
            model_name=self.answer.model or self._spec.name,
            provider_name=self._spec.provider,
        )


@dataclass(frozen=True, slots=True)
class ChatWire:
    """`agent` lends its limits; its prompts are in the messages of every step."""

    model: ChatModel
    agent: AgentConfig
    profile: ModelProfile = field(
        default_factory=lambda: merge_profile(
            DEFAULT_PROFILE,
            ModelProfile(
                supports_json_schema_output=True,
                supports_json_object_output=True,
                supports_inline_system_prompts=True,
            ),
        )
    )

    @property
    def spec(self) -> ModelSpec:
        return self.model.spec

    @property
    def host(self) -> str:
        return self.model.host

    def call(self, step: Step, limit: OutputLimit) -> ChatCall:
        exchange = self.model.call(step.request, self.agent, limit, step.context)
        return ChatCall(exchange, self.spec)

    async def aclose(self) -> None:
        """The client is its owner's to close."""


def response_parts(events: Iterable[RunEvent]) -> list[ModelResponsePart]:
    """What was said, in the order in which it began."""
    parts: list[ModelResponsePart] = []
    calls: dict[int, tuple[ToolCallStart, list[str]]] = {}
    for kind, said in groupby(events, _kind):
        pieces: list[Any] = list(said)
        text = "".join(each.text for each in pieces) if kind in _TEXTS else ""
        if kind is TextDelta:
            parts.append(TextPart(text))
        elif kind is ReasoningDelta:
            parts.append(ThinkingPart(text))
        elif kind is RefusalDelta:
            parts.append(refused(text))
        elif kind is ToolCallStart:
            calls |= {each.index: (each, []) for each in pieces}
        elif kind is ToolArgsDelta:
            for each in pieces:
                calls[each.index][1].append(each.text)
    return [*parts, *(_call(start, "".join(texts)) for start, texts in calls.values())]


def _kind(event: RunEvent) -> type[RunEvent]:
    return TextDelta if isinstance(event, Texts) else type(event)


_TEXTS = (TextDelta, ReasoningDelta, RefusalDelta)


def _call(start: ToolCallStart, text: str) -> ToolCallPart:
    if start.kind == "function":
        return ToolCallPart(start.name, text, start.call_id)
    arguments = orjson.dumps({CUSTOM_INPUT: text}).decode()
    return custom_call(ToolCallPart(start.name, arguments, start.call_id))
