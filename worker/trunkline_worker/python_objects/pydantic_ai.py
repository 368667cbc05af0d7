"""Agents of pydantic-ai. Imported where there is one."""

from collections.abc import AsyncGenerator, Mapping
from decimal import Decimal
from typing import Any, Final, cast

from pydantic_ai import (
    AgentRunResultEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    PartDeltaEvent,
    PartStartEvent,
)
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
)
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage, UsageLimits
from pydantic_core import to_json

from trunkline_shared.events import Finished, ReasoningDelta, RunEvent, TextDelta, Usage
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.python_objects.base import Activities, Ask, Piece

_SETTINGS: Final = {
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
    "reasoning_effort": "openai_reasoning_effort",
    "verbosity": "openai_text_verbosity",
    "user": "openai_user",
    "service_tier": "openai_service_tier",
}
_SAME: Final = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")
_SAME_TOO: Final = ("logit_bias", "parallel_tool_calls")


class PydanticAi:
    """Used as it is, with its own model, tools and prompts. What it gives back beside text is
    said as JSON."""

    def __init__(self, agent: AbstractAgent[Any, Any]) -> None:
        self._agent = agent

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        activities = Activities(self._agent.name or ask.agent.name)
        said, usage = False, RunUsage()
        try:
            async with self._agent.run_stream_events(
                message_history=await self._history(ask),
                model_settings=_settings(ask.options),
                usage_limits=_limits(ask),
                usage=usage,
            ) as events:
                async for event in events:
                    if isinstance(event, AgentRunResultEvent):
                        for last in _last(event, said):
                            yield last
                        continue
                    said = said and not isinstance(event, FunctionToolCallEvent)
                    for each in _events(event, activities):
                        said = said or isinstance(each, TextDelta)
                        yield each
        except UsageLimitExceeded as error:
            yield _usage(usage)
            yield Finished("length", detail=_limit(str(error)))

    async def _history(self, ask: Ask) -> list[ModelMessage]:
        """With the agent's own system prompts before it, which it adds to no history by itself."""
        messages = to_messages(ask.request.transcript, ask.agent.system_prompt)
        own = await self._agent.system_prompt_parts(
            deps=None,
            model=None,
            message_history=None,
            prompt=None,
            usage=RunUsage(),
            model_settings=None,
        )
        return [ModelRequest(parts=list(own)), *messages] if own else messages


def _events(event: Any, activities: Activities) -> list[RunEvent]:
    match event:
        case PartStartEvent(part=TextPart(content=text)) if text:
            return [TextDelta(text)]
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)) if text:
            return [TextDelta(text)]
        case PartStartEvent(part=ThinkingPart(content=text)) if text:
            return [ReasoningDelta(text)]
        case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=text)) if text:
            return [ReasoningDelta(text)]
        case FunctionToolCallEvent(part=part):
            return activities.begin(part.tool_call_id, part.tool_name, part.args_as_json_str())
        case FunctionToolResultEvent(part=part):
            failed = None if getattr(part, "outcome", "") == "success" else "the call failed"
            return activities.end(part.tool_call_id, _returned(part), failed)
    return []


def _returned(part: Any) -> str:
    """What a call gave back, or what the model is told that was wrong with it."""
    told = getattr(part, "model_response_str", None) or part.model_response
    return str(told())


def _last(event: AgentRunResultEvent[Any], said: bool) -> list[Piece]:
    """`said`: the answer stands there already."""
    result = event.result
    pieces: list[Piece] = [] if said else [TextDelta(_text(result.output))]
    pieces.append(_usage(result.usage))
    reason = result.response.finish_reason
    if reason == "length" or reason == "content_filter":
        pieces.append(Finished(reason))
    return pieces


def _settings(options: Mapping[str, Any]) -> ModelSettings:
    named = {_SETTINGS[key]: value for key, value in options.items() if key in _SETTINGS}
    same = {key: options[key] for key in (*_SAME, *_SAME_TOO) if key in options}
    return cast(ModelSettings, {**named, **same})


def _limits(ask: Ask) -> UsageLimits:
    limits = ask.limits
    return UsageLimits(
        request_limit=limits.max_requests,
        total_tokens_limit=limits.max_total_tokens,
        cost_limit=None if limits.max_cost is None else Decimal(str(limits.max_cost)),
    )


def _limit(message: str) -> str:
    """The one of ours that pydantic-ai speaks of."""
    for word, limit in (("request", "max_requests"), ("cost", "max_cost")):
        if f"{word}_limit" in message:
            return f"limits.{limit} reached"
    return "limits.max_total_tokens reached"


def _text(output: Any) -> str:
    return output if isinstance(output, str) else to_json(output, fallback=str).decode()


def _usage(usage: RunUsage) -> Usage:
    return Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_reasoning_tokens or 0,
        None if usage.cost is None else float(usage.cost),
    )
