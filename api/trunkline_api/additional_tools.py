"""Tools that stand among the items of a request, or of what it follows."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from pydantic import ValidationError

from trunkline_api.wire.response_items import AdditionalTools
from trunkline_api.wire.response_rules import check_choice
from trunkline_api.wire.response_tools import Tool
from trunkline_api.wire.responses import ResponsesRequest
from trunkline_shared.transcript import Item


def with_all_tools(request: ResponsesRequest, before: Sequence[Item]) -> ResponsesRequest:
    """The request with those tools in `tools`, too. Of two of one name the later counts.

    Raises ApiError 400 when they do not go together, or with its choice among them.
    """
    earlier, now = [*_of(before)], [*_sent(request)]
    if earlier or now:
        tools = {_place(tool): tool for tool in (*earlier, *(request.tools or ()), *now)}
        request = request.model_copy(update={"tools": [*tools.values()]})
    check_choice(request)
    return request


def _place(tool: Tool) -> tuple[str, str]:
    return tool.type, getattr(tool, "name", "")


def _sent(request: ResponsesRequest) -> Iterator[Tool]:
    for item in () if isinstance(request.input, str) else request.input:
        if isinstance(item, AdditionalTools):
            yield from item.tools


def _of(before: Sequence[Item]) -> Iterator[Tool]:
    for item in before:
        if item["type"] == "opaque" and item["value"].get("type") == "additional_tools":
            with suppress(ValidationError):  # an older version kept it without reading it
                yield from AdditionalTools.model_validate(item["value"]).tools
