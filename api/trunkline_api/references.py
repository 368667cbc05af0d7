"""Input items that name one of a stored response: each counts as if that item had been sent."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from trunkline_api.errors import ApiError, invalid
from trunkline_api.kept_reasoning import opened
from trunkline_api.render.input_items import item_values
from trunkline_api.render.response import response_id, told_item
from trunkline_api.stored_responses import StoredResponses
from trunkline_api.stored_runs import Stored
from trunkline_api.wire.response_items import InputItem, ItemReference
from trunkline_api.wire.responses import ResponsesRequest

_ID: Final = re.compile(r"[a-z]+_([0-9a-z]{28})_(?:in)?\d+", re.ASCII)
_ITEM: Final[TypeAdapter[InputItem]] = TypeAdapter(InputItem)


async def resolved(
    request: ResponsesRequest, stored: StoredResponses, principal: str
) -> ResponsesRequest:
    """The request with the items that it names in their places, and its sealed reasoning in clear.

    Raises ApiError as `References.resolved` and `opened` do.
    """
    if isinstance(request.input, str):
        return request
    items = await References(stored, principal).resolved(request.input)
    return request.model_copy(update={"input": opened(items, stored.vault, principal)})


class References:
    """Of one request. Reads each response once."""

    def __init__(self, stored: StoredResponses, principal: str) -> None:
        self._stored = stored
        self._principal = principal
        self._read: dict[str, dict[str, Any]] = {}  # items by their ids, by the run
        self._sizes = {"read": 0, "named": 0}  # in bytes

    async def resolved(self, items: Sequence[InputItem]) -> list[InputItem]:
        """Raises ApiError: 404 for what is no item of a response of this principal that has
        ended, 400 when the responses, or all items that are named, are larger than one request may
        be."""
        return [
            await self._item(item.id, f"input[{index}].id")
            if isinstance(item, ItemReference)
            else item
            for index, item in enumerate(items)
        ]

    async def _item(self, item_id: str, param: str) -> InputItem:
        named = _ID.fullmatch(item_id)
        if named is None:
            raise _not_found(item_id, param)
        run_id = named[1]
        if run_id not in self._read:
            self._read[run_id] = await self._items(run_id, param)
        try:
            value = self._read[run_id][item_id]
            item = _ITEM.validate_python(value)
        except (KeyError, ValidationError):
            raise _not_found(item_id, param) from None
        # Each time: a few bytes may name the same large item again and again.
        self._count("named", len(orjson.dumps(value)), param)
        return item

    async def _items(self, run_id: str, param: str) -> dict[str, Any]:
        stored = await self._stored.find(response_id(run_id), self._principal)
        if stored is None:
            return {}
        self._count("read", stored.size, param)
        return {item["id"]: item for item in _told(stored)}

    def _count(self, what: Literal["read", "named"], size: int, param: str) -> None:
        self._sizes[what] += size
        if self._sizes[what] > self._stored.max_bytes:
            message = "The items that 'input' names, or the responses that they are of, take more "
            message += f"than {self._stored.max_bytes} bytes: send the items instead."
            raise invalid(param, message, "context_length_exceeded")


def _told(stored: Stored) -> Iterator[dict[str, Any]]:
    yield from item_values(stored.record.input, stored.run_id)
    said = () if stored.folded is None else stored.folded.items
    for index, item in enumerate(said):
        yield told_item(stored.about, index, item)


def _not_found(item_id: str, param: str) -> ApiError:
    message = f"Item with id '{item_id[:100]}' not found. Only items of stored responses that "
    message += "have ended can be named: send the whole item, or 'previous_response_id'."
    return ApiError(404, message, code="item_not_found", param=param)
