"""The rules of Open Responses (https://www.openresponses.org) for streams and resources.

Each function is one rule and asserts it. Two are not kept on purpose: as OpenAI's, our streams end
without `[DONE]`, and after the crash of a worker others follow an item that is `incomplete`.
"""

import json
from collections import defaultdict
from typing import Any

Json = dict[str, Any]

RESOURCE = {
    *("id", "object", "created_at", "completed_at", "status", "model", "output", "error"),
    *("incomplete_details", "previous_response_id", "instructions", "tools", "tool_choice"),
    *("truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty", "user"),
    *("frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "metadata"),
    *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier"),
    *("safety_identifier", "prompt_cache_key"),
}
"""Members that are always there, be they null."""

NEVER_NULL = {
    **{"id": str, "object": str, "created_at": int, "status": str, "model": str, "output": list},
    **{"tools": list, "truncation": str, "parallel_tool_calls": bool, "text": dict},
    **{"metadata": dict, "store": bool, "background": bool, "service_tier": str},
    **{"top_logprobs": int, "temperature": float, "top_p": float},
    **{"presence_penalty": float, "frequency_penalty": float},
}
TERMINAL = {"completed", "incomplete", "failed"}
LIFECYCLE = {f"response.{kind}" for kind in ("created", "queued", "in_progress", *TERMINAL)}
_PLACE = {"item_id", "output_index"}
_PART = {*_PLACE, "content_index"}
MEMBERS = {
    **{kind: {"response"} for kind in LIFECYCLE},
    "response.output_item.added": {"output_index", "item"},
    "response.output_item.done": {"output_index", "item"},
    "response.content_part.added": {*_PART, "part"},
    "response.content_part.done": {*_PART, "part"},
    "response.output_text.delta": {*_PART, "delta", "logprobs"},
    "response.output_text.done": {*_PART, "text", "logprobs"},
    "response.refusal.delta": {*_PART, "delta"},
    "response.refusal.done": {*_PART, "refusal"},
    "response.reasoning_text.delta": {*_PART, "delta"},
    "response.reasoning_text.done": {*_PART, "text"},
    "response.function_call_arguments.delta": {*_PLACE, "delta"},
    "response.function_call_arguments.done": {*_PLACE, "arguments", "name"},
    "response.custom_tool_call_input.delta": {*_PLACE, "delta"},
    "response.custom_tool_call_input.done": {*_PLACE, "input"},
    "response.mcp_call_arguments.delta": {*_PLACE, "delta"},
    "response.mcp_call_arguments.done": {*_PLACE, "arguments"},
    "response.mcp_call.in_progress": _PLACE,
    "response.mcp_call.completed": _PLACE,
    "response.mcp_call.failed": _PLACE,
}
ITEM = {
    "message": {"id", "status", "role", "content"},
    "reasoning": {"id", "status", "summary", "content", "encrypted_content"},
    "function_call": {"id", "status", "call_id", "name", "arguments"},
    "custom_tool_call": {"id", "status", "call_id", "name", "input"},
    "mcp_call": {"id", "status", "server_label", "name", "arguments", "output", "error"},
}
PART = {
    "output_text": {"text", "annotations", "logprobs"},
    "refusal": {"refusal"},
    "reasoning_text": {"text"},
}


def events_of(body: str) -> list[Json]:
    """What a stream says. Each event is its type and its value, which name the same type; there
    are comments, and no ids and delays, which break clients."""
    assert body.endswith("\n\n")
    events = []
    for block in body.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        kind, data = block.split("\n")
        assert kind.startswith("event: ") and data.startswith("data: ")
        events.append(json.loads(data.removeprefix("data: ")))
        assert events[-1]["type"] == kind.removeprefix("event: ")
    return events


def check_stream(events: list[Json]) -> Json:
    """All rules of streams; its last response."""
    numbered_from_zero_with_all_their_members(events)
    final = one_response_goes_through_its_states(events)
    items = items_open_once_grow_and_close(events)
    assert final["output"] == items
    for event in events:
        if "response" in event:
            check_resource(event["response"])
    return final


def numbered_from_zero_with_all_their_members(events: list[Json]) -> None:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        assert MEMBERS[event["type"]] <= event.keys(), event


def one_response_goes_through_its_states(events: list[Json]) -> Json:
    told = [event for event in events if event["type"] in LIFECYCLE]
    kinds = [event["type"].removeprefix("response.") for event in told]
    assert kinds[:-1] in (["created", "in_progress"], ["created", "queued", "in_progress"])
    assert kinds[-1] in TERMINAL and told[-1] is events[-1]
    assert events[: len(kinds) - 1] == told[:-1]  # before all else
    responses: list[Json] = [event["response"] for event in told]
    for kind, response in zip(kinds, responses, strict=True):
        begun = "queued" if "queued" in kinds else "in_progress"
        assert response["status"] == (begun if kind == "created" else kind)
        for member in RESOURCE - {"status", "output", "usage", "completed_at"}:
            if member not in ("error", "incomplete_details", "service_tier"):
                assert response[member] == responses[0][member], member
    assert all(response["output"] == [] and not response["usage"] for response in responses[:-1])
    return responses[-1]


def items_open_once_grow_and_close(events: list[Json]) -> list[Json]:
    """Every item by itself, for several may be open at once; what they ended as, in their order."""
    by_index: defaultdict[int, list[Json]] = defaultdict(list)
    for event in events:
        if "output_index" in event:
            by_index[event["output_index"]].append(event)
    assert list(by_index) == list(range(len(by_index)))
    items = [_item(own) for own in by_index.values()]
    assert len({item["id"] for item in items}) == len(items)
    return items


def _item(events: list[Json]) -> Json:
    opened, *between, closed = events
    assert opened["type"] == "response.output_item.added"
    assert closed["type"] == "response.output_item.done"
    first, last = opened["item"], closed["item"]
    kept = {"id", "type", "role", "call_id", "name", "server_label"}
    assert {k: v for k, v in first.items() if k in kept} == {
        k: v for k, v in last.items() if k in kept
    }
    assert first["status"] == "in_progress" and not first.get("content")
    check_item(last)
    assert {event["item_id"] for event in between} <= {first["id"]}
    if last["type"] in ("message", "reasoning"):
        assert _parts(between) == last["content"]
    else:
        _call(between, last)
    return last


def _parts(events: list[Json]) -> list[Json]:
    by_index: defaultdict[int, list[Json]] = defaultdict(list)
    for event in events:
        by_index[event["content_index"]].append(event)
    assert list(by_index) == list(range(len(by_index)))
    parts = []
    for own in by_index.values():
        opened, *deltas, whole, closed = own
        assert opened["type"] == "response.content_part.added"
        assert closed["type"] == "response.content_part.done"
        part = closed["part"]
        assert opened["part"]["type"] == part["type"]
        member = "refusal" if part["type"] == "refusal" else "text"
        assert opened["part"][member] == ""
        stem = f"response.{part['type']}"
        assert {event["type"] for event in deltas} == {f"{stem}.delta"}
        assert "".join(event["delta"] for event in deltas) == whole[member] == part[member]
        assert whole["type"] == f"{stem}.done"
        parts.append(part)
    return parts


def _call(events: list[Json], item: Json) -> None:
    member = "input" if item["type"] == "custom_tool_call" else "arguments"
    deltas = [event["delta"] for event in events if event["type"].endswith(f"{member}.delta")]
    done = [event[member] for event in events if event["type"].endswith(f"{member}.done")]
    assert "".join(deltas) == item[member]
    assert done == [item[member]] or item["status"] == "incomplete"
    if item["type"] == "mcp_call":
        assert events[0]["type"] == "response.mcp_call.in_progress"
        assert events[-1]["type"] == f"response.mcp_call.{item['status']}"


def check_item(item: Json) -> None:
    assert ITEM[item["type"]] <= item.keys(), item
    assert item["status"] in ("completed", "incomplete", "failed")
    assert all(item[member] is not None for member in ("id", "status"))
    for part in item.get("content") or ():
        assert PART[part["type"]] <= part.keys() and None not in part.values()


def check_resource(response: Json) -> None:
    """All members, their types, and what goes with its state."""
    assert response.keys() >= RESOURCE
    wrong = {k: response[k] for k, kind in NEVER_NULL.items() if type(response[k]) is not kind}
    assert wrong == {}
    assert response["object"] == "response" and response["text"]["format"]["type"]
    for tool in response["tools"]:
        if tool["type"] == "function":
            assert tool.keys() >= {"name", "description", "parameters", "strict"}
    status = response["status"]
    assert (response["completed_at"] is not None) == (status == "completed")
    assert (response["error"] is not None) == (status == "failed")
    assert (response["incomplete_details"] is not None) == (status == "incomplete")
    if status == "failed":
        error = response["error"]
        assert error["code"] and error["message"] and error["type"]
    if status == "incomplete":
        assert response["incomplete_details"]["reason"] in ("max_output_tokens", "content_filter")
    if status in ("completed", "incomplete"):
        _check_usage(response["usage"])
    for item in response["output"]:
        check_item(item)


def only_the_last_item_is_cut_and_its_response_with_it(response: Json) -> None:
    cut = [item["status"] == "incomplete" for item in response["output"]]
    assert not any(cut[:-1])
    assert not any(cut) or response["status"] != "completed"


def _check_usage(usage: Json) -> None:
    assert type(usage["input_tokens"]) is type(usage["output_tokens"]) is int
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert type(usage["input_tokens_details"]["cached_tokens"]) is int
    assert type(usage["output_tokens_details"]["reasoning_tokens"]) is int
