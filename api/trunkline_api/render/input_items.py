"""Items of a transcript as the Responses API has them in lists. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from trunkline_api.wire.namespaces import within
from trunkline_shared.transcript import Item, Message, Part, ToolCall, ToolResult, text_of

ItemJson = dict[str, Any]


def item_values(items: Sequence[Item], run_id: str) -> list[ItemJson]:
    """All of them, in order, each with an id of its own that follows from the run and its place.

    The agent's own calls are one item with their results. What is kept as it came keeps its id, if
    it has one that a page can begin after.
    """
    calls = {item["id"]: item for item in items if item["type"] == "tool_call"}
    results = {item["id"]: item for item in items if item["type"] == "tool_result"}
    known: set[str] = set()
    values = []
    for number, item in enumerate(items):
        where = f"{run_id}_in{number}"
        for value in values_of(item, where, calls, results):
            if value["id"] in known:
                value["id"] = f"item_{where}"
            known.add(value["id"])
            values.append(value)
    return values


def values_of(
    item: Item, where: str, calls: Mapping[str, ToolCall], results: Mapping[str, ToolResult]
) -> Iterator[ItemJson]:
    """One item, or none for a result that is told with its call. `where` ends its id."""
    match item["type"]:
        case "message":
            yield _message(item, where)
        case "reasoning":
            content = [{"type": "reasoning_text", "text": text} for text in [item["text"]] if text]
            told = [{"type": "summary_text", "text": text} for text in item.get("summary", ())]
            about = {"summary": told, "content": content, "encrypted_content": None}
            yield {"type": "reasoning", "id": f"rs_{where}", **about, "status": "completed"}
        case "tool_call" if "toolset" in item:
            yield _activity(item, results.get(item["id"]), where)
        case "tool_call":
            yield _call(item, where)
        case "tool_result":
            if "toolset" not in item:
                yield _result(item, calls.get(item["id"]), where)
        case "opaque":
            value = item["value"]
            given = value.get("id")
            is_fit = isinstance(given, str) and given != ""
            yield {**value, "id": given if is_fit else f"item_{where}"}
        case _ as never:
            assert_never(never)


def _message(item: Message, where: str) -> ItemJson:
    is_said = item["role"] == "assistant"
    content = [_part(part, is_said=is_said) for part in item["content"]]
    head = {"type": "message", "id": f"msg_{where}", "role": item["role"]}
    phase = {"phase": item["phase"]} if "phase" in item else {}
    return {**head, "status": item.get("status", "completed"), "content": content, **phase}


def _call(item: ToolCall, where: str) -> ItemJson:
    about = {"call_id": item["id"], "name": item["name"], "status": "completed"}
    if "namespace" in item:
        space = item["namespace"]
        about |= {"namespace": space, "name": within(space, item["name"])}
    if item["kind"] == "custom":
        return {
            "type": "custom_tool_call",
            "id": f"ctc_{where}",
            **about,
            "input": item["arguments"],
        }
    head = {"type": "function_call", "id": f"fc_{where}"}
    return {**head, **about, "arguments": item["arguments"]}


def _result(item: ToolResult, call: ToolCall | None, where: str) -> ItemJson:
    # The call may be in an earlier response; most are of functions.
    kind, prefix = "function_call_output", "fco"
    if (item if call is None else call).get("kind") == "custom":
        kind, prefix = "custom_tool_call_output", "ctco"
    content = item["content"]
    output: Any = [_part(part, is_said=False) for part in content]
    if all(part["type"] == "text" for part in content) and len(content) < 2:
        output = text_of(content)
    head = {"type": kind, "id": f"{prefix}_{where}", "call_id": item["id"]}
    return {**head, "status": "completed", "output": output}


def _activity(item: ToolCall, result: ToolResult | None, where: str) -> ItemJson:
    said = None if result is None else text_of(result["content"])
    is_error = result is not None and result.get("is_error", False)
    return {
        "type": "mcp_call",
        "id": f"mcp_{where}",
        "server_label": item["toolset"],
        "name": item["name"],
        "arguments": item["arguments"],
        "output": None if is_error else said,
        "error": said if is_error else None,
        "status": "failed" if is_error else "completed",
    }


def _part(part: Part, *, is_said: bool) -> ItemJson:
    match part["type"]:
        case "text" if is_said:
            text = part["text"]
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        case "text":
            return {"type": "input_text", "text": part["text"]}
        case "refusal":
            return {"type": "refusal", "refusal": part["text"]}
        case "image":
            detail = part.get("detail", "auto")
            return {"type": "input_image", "image_url": part["url"], "detail": detail}
        case "audio":
            source = {"data": part["data"], "format": part["format"]}
            return {"type": "input_audio", "input_audio": source}
        case "file":
            file = {
                "file_id": part.get("file_id"),
                "filename": part.get("filename"),
                "file_data": part.get("data"),
            }
            given = {name: value for name, value in file.items() if value is not None}
            return {"type": "input_file", **given}
        case _ as never:
            assert_never(never)
