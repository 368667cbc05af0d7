"""Lists in pages, as OpenAI's clients turn them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import Query

from trunkline_api.errors import invalid

Limit: TypeAlias = Annotated[int, Query(ge=1, le=100)]
Order: TypeAlias = Literal["asc", "desc"]


def page(
    items: Sequence[dict[str, Any]], *, after: str | None, limit: int, order: Order
) -> dict[str, Any]:
    """One page of `items`, which are in ascending order and have an `id` each.

    Raises ApiError 400 when none has the id `after`.
    """
    ordered = list(items) if order == "asc" else list(reversed(items))
    start = 0
    if after is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise invalid("after", f"'after' is the id of an item, and '{after[:100]}' is none.")
        start = ids.index(after) + 1
    data = ordered[start : start + limit]
    return listed(data, has_more=start + limit < len(ordered))


def listed(items: Sequence[dict[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """The list object of what has an `id` each."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
