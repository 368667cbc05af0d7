"""Token counts out of the many shapes in which upstreams report them. Pure."""

from typing import Any

from trunkline_shared.events import Usage


def usage_of(reported: dict[str, Any]) -> Usage:
    """The counts without cost. What is missing, null or no number counts as 0."""
    prompt = _part(reported, "prompt_tokens_details")
    completion = _part(reported, "completion_tokens_details")
    inputs, outputs = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens")
    reasoning = _count(completion, "reasoning_tokens")
    # xAI's completion tokens lack the reasoning; its total has it.
    if reasoning and _count(reported, "total_tokens") == inputs + outputs + reasoning:
        outputs += reasoning
    return Usage(
        input_tokens=inputs,
        output_tokens=outputs,
        cached_tokens=_count(prompt, "cached_tokens")
        or _count(reported, "prompt_cache_hit_tokens")
        or _count(reported, "cache_read_input_tokens"),
        cache_write_tokens=_count(prompt, "cache_write_tokens")
        or _count(reported, "cache_creation_input_tokens"),
        reasoning_tokens=reasoning,
    )


def _part(values: dict[str, Any], key: str) -> dict[str, Any]:
    part = values.get(key)
    return part if isinstance(part, dict) else {}


def _count(values: dict[str, Any], key: str) -> int:
    if not values:
        return 0
    count = values.get(key)
    return int(count) if isinstance(count, int | float) and count > 0 else 0
