from typing import Any

import pytest

from trunkline_api.errors import ApiError
from trunkline_api.paging import page

ITEMS: list[dict[str, Any]] = [{"id": name} for name in "abcde"]


def ids(value: dict[str, Any]) -> str:
    return "".join(item["id"] for item in value["data"])


@pytest.mark.parametrize(("order", "expected"), [("asc", "abcde"), ("desc", "edcba")])
def test_pages_hold_all_items_in_order(order: Any, expected: str) -> None:
    first = page(ITEMS, after=None, limit=2, order=order)
    second = page(ITEMS, after=first["last_id"], limit=2, order=order)
    third = page(ITEMS, after=second["last_id"], limit=2, order=order)
    assert ids(first) + ids(second) + ids(third) == expected
    assert [each["has_more"] for each in (first, second, third)] == [True, True, False]
    assert (first["object"], first["first_id"]) == ("list", expected[0])


def test_a_page_after_the_last_item_is_empty() -> None:
    value = page(ITEMS, after="e", limit=20, order="asc")
    assert value == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


def test_an_unknown_cursor_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        page(ITEMS, after="z", limit=20, order="asc")
    assert (caught.value.status, caught.value.param) == (400, "after")
