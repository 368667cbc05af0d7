"""A run that has ended as one chat completion, and what chunks say of it in the same words."""

from collections.abc import Mapping
from typing import Any, Final, assert_never

import orjson

from trunkline_api.errors import from_failure
from trunkline_api.render.activity import activities
from trunkline_shared.events import Failed, Finished, Usage
from trunkline_shared.fold import Folded
from trunkline_shared.run import created_ms, is_run_id
from trunkline_shared.transcript import ToolCall

_PREFIX: Final = "chatcmpl-"


def completion_id(run_id: str) -> str:
    """The `id` of a run's completion, and of each of its chunks."""
    return _PREFIX + run_id


def run_of_completion(completion: str) -> str | None:
    """The run of a completion; None for what no completion is called."""
    run_id = completion.removeprefix(_PREFIX)
    return run_id if is_run_id(run_id) and run_id != completion else None


def render_completion(
    run_id: str,
    model: str,
    folded: Folded,
    *,
    metadata: Mapping[str, str] | None = None,
    show_tools: bool = False,
) -> bytes:
    """The body of a reply that is not streamed. Raises ApiError when the run failed.

    `metadata` is None where the completion is not stored. Raises ValueError when the run has not
    ended.
    """
    match folded.terminal:
        case Finished() as finished:
            pass
        case Failed() as failed:
            raise from_failure(failed)
        case None:
            raise ValueError(f"run {run_id} has not ended")
        case _ as never:
            assert_never(never)
    logprobs = None
    if folded.logprobs is not None:
        logprobs = {"content": list(folded.logprobs), "refusal": None}
    choice = {
        "index": 0,
        "message": _message(folded),
        "logprobs": logprobs,
        "finish_reason": finished.reason,
    }
    completion: dict[str, Any] = {
        "id": completion_id(run_id),
        "object": "chat.completion",
        "created": created_ms(run_id) // 1000,
        "model": model,
        "choices": [choice],
        "usage": usage_value(finished.usage),
    }
    if metadata is not None:
        completion["metadata"] = metadata
    told: dict[str, Any] = {} if finished.detail is None else {"detail": finished.detail}
    if show_tools:
        told["activities"] = activities(folded.activities)
    if told:
        completion["trunkline"] = told
    body = orjson.dumps(completion)
    return body[:-1] + about(finished) + b"}"


def _message(folded: Folded) -> dict[str, Any]:
    # null only where something else stands in for the text: clients send messages back, and a
    # message without any content is no valid input.
    empty = None if folded.tool_calls or folded.refusal else ""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": folded.text or empty,
        "refusal": folded.refusal or None,
        "annotations": [],
    }
    if folded.reasoning:
        message["reasoning_content"] = folded.reasoning
    if folded.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in folded.tool_calls]
    return message


def _tool_call(call: ToolCall) -> dict[str, Any]:
    value = "input" if call["kind"] == "custom" else "arguments"
    named = {"name": call["name"], value: call["arguments"]}
    return {"id": call["id"], "type": call["kind"], call["kind"]: named}


def about(finished: Finished) -> bytes:
    pieces = b""
    if finished.service_tier is not None:
        pieces += b',"service_tier":' + orjson.dumps(finished.service_tier)
    if finished.system_fingerprint is not None:
        pieces += b',"system_fingerprint":' + orjson.dumps(finished.system_fingerprint)
    return pieces


def usage_value(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "cost": usage.cost,
    }
