"""Agents of the OpenAI Agents SDK. Imported where there is one."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from agents import Agent, ModelSettings, RunConfig, Runner
from agents.exceptions import MaxTurnsExceeded
from agents.result import RunResultStreaming
from agents.usage import Usage as TheirUsage
from openai.types.shared import Reasoning

from trunkline_shared.events import (
    Finished,
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    Usage,
)
from trunkline_shared.transcript import Item, Part, text_of
from trunkline_worker.python_objects.base import Activities, Ask, Piece
from trunkline_worker.python_objects.generator import prompts

_SAME: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_SAME_TOO: Final = ("parallel_tool_calls", "verbosity")
_BESIDE: Final = ("stop", "seed", "logit_bias", "user", "service_tier")
_CLOSE_S: Final = 1.0


class OpenAiAgents:
    """Used as it is, with its own model, tools and hand-offs. Nothing is traced to the vendor."""

    def __init__(self, agent: Agent[Any]) -> None:
        self._agent = agent

    async def stream(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        activities = Activities(self._agent.name)
        too_many, counted = False, 0
        result = Runner.run_streamed(
            self._agent,
            [each for item in [*prompts(ask), *ask.request.transcript] for each in _input(item)],
            max_turns=ask.limits.max_requests,
            run_config=RunConfig(tracing_disabled=True, model_settings=_settings(ask.options)),
        )
        try:
            async for event in result.stream_events():
                if result.context_wrapper.usage.requests > counted:
                    counted = result.context_wrapper.usage.requests
                    yield _usage(result.context_wrapper.usage)
                for each in _events(event, activities):
                    yield each
        except MaxTurnsExceeded:
            too_many = True
        finally:
            await _ended(result)
        usage = result.context_wrapper.usage
        yield _usage(usage)
        if too_many:
            yield Finished("length", detail="limits.max_requests reached")
        elif _was_cut(usage, ask.options.get("max_output_tokens")):
            yield Finished("length")


async def _ended(result: RunResultStreaming) -> None:
    """Cancelled, if it still runs, and gone: the SDK lets its tasks go on for a while."""
    result.cancel()
    if result.run_loop_task is not None:
        await asyncio.wait({result.run_loop_task}, timeout=_CLOSE_S)


def _events(event: Any, activities: Activities) -> list[RunEvent]:
    if event.type == "raw_response_event":
        return _said(event.data)
    if event.type == "run_item_stream_event":
        raw = getattr(event.item, "raw_item", None)
        if event.name == "tool_called" and (call_id := _of(raw, "call_id") or _of(raw, "id")):
            name = _of(raw, "name") or str(_of(raw, "type"))
            return activities.begin(call_id, name, _of(raw, "arguments") or "")
        if event.name == "tool_output" and (call_id := _of(raw, "call_id")):
            return activities.end(call_id, str(event.item.output))
    return []


def _said(data: Any) -> list[RunEvent]:
    match data.type:
        case "response.output_text.delta":
            return [TextDelta(data.delta)]
        case "response.refusal.delta":
            return [RefusalDelta(data.delta)]
        case "response.reasoning_text.delta":
            return [ReasoningDelta(data.delta)]
        case "response.reasoning_summary_text.delta":
            return [ReasoningDelta(data.delta, data.summary_index)]
    return []


def _of(raw: Any, key: str) -> str:
    """Some of their items are mappings, some objects."""
    value = raw.get(key) if isinstance(raw, Mapping) else getattr(raw, key, None)
    return value if isinstance(value, str) else ""


def _settings(options: Mapping[str, Any]) -> ModelSettings:
    same = {key: options[key] for key in (*_SAME, *_SAME_TOO) if key in options}
    beside = {key: options[key] for key in _BESIDE if key in options}
    effort, summary = options.get("reasoning_effort"), options.get("reasoning_summary")
    return ModelSettings(
        **same,
        max_tokens=options.get("max_output_tokens"),
        reasoning=Reasoning(effort=effort, summary=summary) if effort or summary else None,
        include_usage=True,
        extra_args=beside or None,
    )


def _input(item: Item) -> list[Any]:
    match item["type"]:
        case "message" if item["role"] == "assistant":
            words = "".join(
                part["text"] for part in item["content"] if part["type"] in ("text", "refusal")
            )
            return [{"role": "assistant", "content": words}]
        case "message":
            return [{"role": item["role"], "content": [*map(_content, item["content"])]}]
        case "tool_call":
            call = {"call_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
            return [{"type": "function_call", **call}]
        case "tool_result":
            output = text_of(item["content"])
            return [{"type": "function_call_output", "call_id": item["id"], "output": output}]
    return []  # what only others understand


def _content(part: Part) -> dict[str, Any]:
    match part["type"]:
        case "image":
            detail = part.get("detail", "auto")
            return {"type": "input_image", "image_url": part["url"], "detail": detail}
        case "file":
            names = {"file_id": "file_id", "filename": "filename", "data": "file_data"}
            given = {names[key]: part[key] for key in names if key in part}  # type: ignore[literal-required]  # its keys
            return {"type": "input_file", **given}
        case "audio":
            held = {"data": part["data"], "format": part["format"]}
            return {"type": "input_audio", "input_audio": held}
    return {"type": "input_text", "text": part["text"]}


def _was_cut(usage: TheirUsage, limit: int | None) -> bool:
    """The SDK does not say why its models end."""
    last = usage.request_usage_entries[-1:]
    return limit is not None and any(each.output_tokens >= limit for each in last)


def _usage(usage: TheirUsage) -> Usage:
    return Usage(
        usage.input_tokens,
        usage.output_tokens,
        usage.input_tokens_details.cached_tokens,
        getattr(usage.input_tokens_details, "cache_write_tokens", 0) or 0,
        usage.output_tokens_details.reasoning_tokens,
    )
