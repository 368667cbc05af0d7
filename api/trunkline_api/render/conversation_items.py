"""The items of a conversation, as `/v1/conversations` tells them. Pure.

An item's id tells the run whose turn it is of, and its place there, so that it is found without a
look at other turns. Those of outputs are the ids that they had in the response.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from trunkline_api.render.input_items import ItemJson, values_of
from trunkline_shared.conversation import Turn, places
from trunkline_shared.transcript import Item

_ID: Final = re.compile(r"[a-z_]+_([a-z][0-9a-f]{27})_(in)?(\d{1,9})")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in its turn an item is: what was asked comes before what was said."""

    is_said: bool
    number: int


def place_of(item_id: str) -> tuple[str, Place] | None:
    """The turn of an item and its place there; None for what no item is called."""
    found = _ID.fullmatch(item_id)
    if found is None:
        return None
    run_id, asked, number = found.groups()
    return run_id, Place(asked is None, int(number))


def items_of(turn: Turn) -> list[tuple[Place, ItemJson]]:
    """All items of a turn, in order; none of one that failed."""
    if not turn.counts:
        return []
    found = [
        (place, value)
        for is_said in (False, True)
        for place, value in _values(turn, is_said=is_said)
    ]
    return sorted(found, key=lambda pair: pair[0])


def without(turn: Turn, place: Place) -> Turn:
    """The turn after the deletion of an item; all others keep their places."""
    items = turn.said if place.is_said else turn.items
    numbers = _numbers(turn, is_said=place.is_said)
    gone = {place.number}
    for number, item in zip(numbers, items, strict=True):
        if number == place.number and item["type"] == "tool_call" and "toolset" in item:
            gone |= _results(item["id"], numbers, items)
    kept = [pair for pair in zip(numbers, items, strict=True) if pair[0] not in gone]
    left, at = [item for _, item in kept], places([number for number, _ in kept])
    if place.is_said:
        return replace(turn, said=left, said_at=at)
    return replace(turn, items=left, items_at=at)


def _results(call: str, numbers: Sequence[int], items: Sequence[Item]) -> set[int]:
    return {
        number
        for number, item in zip(numbers, items, strict=True)
        if item["type"] == "tool_result" and item["id"] == call and "toolset" in item
    }


def _numbers(turn: Turn, *, is_said: bool) -> Sequence[int]:
    if is_said:
        return turn.said_at or range(len(turn.said))
    return turn.items_at or range(len(turn.items))


def _values(turn: Turn, *, is_said: bool) -> Iterator[tuple[Place, ItemJson]]:
    items = turn.said if is_said else turn.items
    calls = {item["id"]: item for item in items if item["type"] == "tool_call"}
    results = {item["id"]: item for item in items if item["type"] == "tool_result"}
    for number, item in zip(_numbers(turn, is_said=is_said), items, strict=True):
        where = f"{turn.run_id}_{number}" if is_said else f"{turn.run_id}_in{number}"
        for value in values_of(item, where, calls, results):
            if item["type"] == "opaque":
                # A compaction is all that is said so; a sender may have used an id before.
                value["id"] = f"cmp_{where}" if is_said else f"item_{where}"
            yield Place(is_said, number), _strict(value)


def _strict(value: ItemJson) -> ItemJson:
    error: Any = value.get("error")
    if value["type"] != "mcp_call" or not isinstance(error, str):
        return value
    content = [{"type": "text", "text": error}]
    return {**value, "error": {"type": "mcp_tool_execution_error", "content": content}}
