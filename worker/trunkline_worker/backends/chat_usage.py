"""Token counts out of the many shapes in which upstreams report them. Pure."""

from typing import Any, Final

from trunkline_shared.events import Usage

_NUMBER: Final = (int, float)  # a tuple is checked faster than a union
_MOST: Final = 1 << 53  # larger ones are no counts, and no log takes them


def usage_of(reported: dict[str, Any]) -> Usage:
    """The counts without cost. What is missing, null or no number counts as 0."""
    counts = _counts(reported)
    prompt = _counts(reported.get("prompt_tokens_details"))
    completion = _counts(reported.get("completion_tokens_details"))
    inputs, outputs = counts.get("prompt_tokens", 0), counts.get("completion_tokens", 0)
    reasoning = completion.get("reasoning_tokens", 0)
    # xAI's completion tokens lack the reasoning; its total has it.
    if reasoning and counts.get("total_tokens") == inputs + outputs + reasoning:
        outputs += reasoning
    cached = (
        prompt.get("cached_tokens")
        or counts.get("prompt_cache_hit_tokens")
        or counts.get("cache_read_input_tokens", 0)
    )
    written = prompt.get("cache_write_tokens") or counts.get("cache_creation_input_tokens", 0)
    return Usage(inputs, outputs, cached, written, reasoning)


def _counts(values: Any) -> dict[str, int]:
    if not isinstance(values, dict):
        return {}
    return {
        name: int(count)
        for name, count in values.items()
        if isinstance(count, _NUMBER) and 0 < count < _MOST
    }
