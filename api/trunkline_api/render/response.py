"""A run as a response object of the Responses API: the same values in every reply about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, assert_never

from trunkline_api.errors import ApiError, from_failure
from trunkline_api.wire.namespaces import namespace_of, within
from trunkline_shared.events import Failed, Finished, Terminal, Usage
from trunkline_shared.fold import Folded
from trunkline_shared.output_items import OutputItem, OutputPart, PartKind
from trunkline_shared.run import created_ms, is_run_id

ResponseStatus: TypeAlias = Literal[
    "queued", "in_progress", "completed", "incomplete", "failed", "cancelled"
]

_PREFIX: Final = "resp_"
_ITEM_PREFIX: Final = MappingProxyType(
    {
        "message": "msg",
        "reasoning": "rs",
        "function": "fc",
        "custom": "ctc",
        "activity": "mcp",
        "compaction": "cmp",
    }
)
_INCOMPLETE: Final = MappingProxyType(
    {"length": "max_output_tokens", "content_filter": "content_filter"}
)
# OpenAI's codes are a closed list; what is not in this table is `server_error`.
_ERROR_CODES: Final = MappingProxyType(
    {
        "invalid_request": "invalid_prompt",
        "context_length_exceeded": "invalid_prompt",
        "upstream_rate_limited": "rate_limit_exceeded",
        "queue_full": "rate_limit_exceeded",
        "concurrency_limit": "rate_limit_exceeded",
    }
)
# What workers, and providers that speak chat completions, call a member of a request.
_PARAMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "response_format": "text.format",
        "messages": "input",
        "logprobs": "top_logprobs",
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "reasoning_effort": "reasoning.effort",
        "verbosity": "text.verbosity",
    }
)


@dataclass(frozen=True, slots=True)
class About:
    """Which run it is, and what the response repeats of its request. `seal` makes what its client
    keeps of reasoning, where that was asked for.
    """

    run_id: str
    model: str
    echo: Mapping[str, Any]
    seal: Callable[[OutputItem], str] | None = None

    @property
    def is_background(self) -> bool:
        return bool(self.echo.get("background"))


def response_id(run_id: str) -> str:
    return _PREFIX + run_id


def run_id_of(response_id: str) -> str | None:
    """The run of a response; None for what no response is called."""
    run_id = response_id.removeprefix(_PREFIX)
    return run_id if is_run_id(run_id) and run_id != response_id else None


def item_id(run_id: str, index: int, item: OutputItem) -> str:
    return f"{_ITEM_PREFIX[item.kind]}_{run_id}_{index}"


def unfinished(about: About, status: ResponseStatus) -> dict[str, Any]:
    """The response of a run that has not ended."""
    return _response(about, status, [], None, 0)


def finished(about: About, folded: Folded) -> dict[str, Any]:
    """The response of a run that has ended. Raises ValueError when it has not."""
    end = folded.terminal
    if end is None:
        raise ValueError(f"run {about.run_id} has not ended")
    return _response(about, status_of(end), folded.items, end, folded.ended_ms)


def status_of(end: Terminal) -> ResponseStatus:
    """What a run that ended so is called."""
    match end:
        case Finished():
            return "incomplete" if end.reason in _INCOMPLETE else "completed"
        case Failed():
            return "cancelled" if end.code == "cancelled" else "failed"
        case _:
            assert_never(end)


def _response(
    about: About,
    status: ResponseStatus,
    items: Sequence[OutputItem],
    end: Terminal | None,
    ended_ms: int,
) -> dict[str, Any]:
    about_end: dict[str, Any] = {"error": None, "incomplete_details": None}
    if isinstance(end, Failed):
        if status != "cancelled":  # which says it all
            about_end["error"] = _error(end)
    elif end is not None:
        if status == "incomplete":
            why = {} if end.detail is None else {"detail": end.detail}
            about_end["incomplete_details"] = {"reason": _INCOMPLETE[end.reason], **why}
        if end.service_tier is not None:
            about_end["service_tier"] = end.service_tier
    return {
        "id": response_id(about.run_id),
        "object": "response",
        "created_at": created_ms(about.run_id) // 1000,
        "completed_at": ended_ms // 1000 if status == "completed" else None,
        "status": status,
        "model": about.model,
        "output": [told_item(about, index, item) for index, item in enumerate(items)],
        "usage": None if end is None or end.usage is None else usage_value(end.usage),
        **about.echo,
        **about_end,
    }


def error_of(failed: Failed) -> ApiError:
    """As `from_failure`, with the names that members have in the Responses API."""
    return from_failure(replace(failed, param=_PARAMS.get(failed.param or "", failed.param)))


def _error(failed: Failed) -> dict[str, Any]:
    error = error_of(failed)
    code = _ERROR_CODES.get(failed.code, "server_error")
    return {"code": code, "message": error.message, "type": error.type, "param": error.param}


def told_item(about: About, index: int, item: OutputItem) -> dict[str, Any]:
    """As `item_value`, with what depends on the request."""
    value = item_value(about.run_id, index, item)
    if item.kind == "reasoning" and item.status == "completed" and about.seal is not None:
        value["encrypted_content"] = about.seal(item)
    if item.kind in ("function", "custom"):
        space = namespace_of(about.echo.get("tools", ()), item.name)
        if space is not None:
            value |= {"namespace": space, "name": within(space, item.name)}
    return value


def item_value(run_id: str, index: int, item: OutputItem) -> dict[str, Any]:
    """An output item, whole or as far as it is known."""
    head = {"id": item_id(run_id, index, item), "status": item.status}
    content = [part_value(part) for part in item.parts if part.kind != "summary"]
    match item.kind:
        case "message":
            phase = {} if item.phase is None else {"phase": item.phase}
            return {"type": "message", **head, "role": "assistant", "content": content, **phase}
        case "reasoning":
            summary = [part_value(part) for part in item.parts if part.kind == "summary"]
            about = {"summary": summary, "content": content, "encrypted_content": None}
            return {"type": "reasoning", **head, **about}
        case "function":
            call = {"call_id": item.call_id, "name": item.name, "arguments": item.text}
            return {"type": "function_call", **head, **call}
        case "custom":
            call = {"call_id": item.call_id, "name": item.name, "input": item.text}
            return {"type": "custom_tool_call", **head, **call}
        case "activity":
            return _activity(head, item)
        case "compaction":
            return {"type": "compaction", "id": head["id"], "encrypted_content": item.text}
        case _:
            assert_never(item.kind)


def _activity(head: dict[str, Any], item: OutputItem) -> dict[str, Any]:
    # The shape in which OpenAI tells of tools that it calls itself.
    has_output = item.error is None and item.status == "completed"
    error = None
    if item.error is not None:
        content = [{"type": "text", "text": item.error}]
        error = {"type": "mcp_tool_execution_error", "content": content}
        head = {**head, "status": "failed"}
    return {
        "type": "mcp_call",
        **head,
        "server_label": item.toolset,
        "name": item.name,
        "arguments": item.of("arguments"),
        "output": item.of("output") or ("" if has_output else None),
        "error": error,
        "approval_request_id": None,
    }


def part_value(part: OutputPart) -> dict[str, Any]:
    if part.kind == "refusal":
        return {"type": "refusal", "refusal": part.text}
    if part.kind == "reasoning":
        return {"type": "reasoning_text", "text": part.text}
    if part.kind == "summary":
        return {"type": "summary_text", "text": part.text}
    return {
        "type": "output_text",
        "text": part.text,
        "annotations": [],
        "logprobs": rows_value(part.logprobs),
    }


def empty_part(kind: PartKind) -> dict[str, Any]:
    return part_value(OutputPart(kind))


def rows_value(rows: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Rows of a chat completion as this API has them, where `bytes` is never null."""
    return [
        {**_row(row), "top_logprobs": [_row(top) for top in row.get("top_logprobs") or ()]}
        for row in rows or ()
    ]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    token = row.get("token", "")
    known = row.get("bytes")
    return {
        "token": token,
        "logprob": row.get("logprob"),
        "bytes": list(token.encode()) if known is None else known,
    }


def usage_value(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cost": usage.cost,
    }
