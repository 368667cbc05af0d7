"""What openai-python can send as `input` is known here, whichever version of it is installed."""

from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from openai.types.responses import response_input_item_param
from typing_extensions import get_type_hints

from tests.api.responses_bodies import body, items
from trunkline_api.wire.response_items import OPAQUE_TYPES
from trunkline_api.wire.responses import parse_responses

MEMBERS = get_args(response_input_item_param.ResponseInputItemParam)

READ: dict[str, dict[str, Any]] = {
    "message": {"role": "user", "content": "hi"},
    "function_call": {"call_id": "c", "name": "f", "arguments": "{}"},
    "function_call_output": {"call_id": "c", "output": "1"},
    "custom_tool_call": {"call_id": "c", "name": "f", "input": "x"},
    "custom_tool_call_output": {"call_id": "c", "output": "1"},
    "mcp_call": {"id": "m", "server_label": "s", "name": "f", "arguments": "{}"},
    "reasoning": {"id": "r", "summary": []},
    "additional_tools": {"role": "developer", "tools": []},
    "item_reference": {"id": "msg_1"},
}
"""The least of each type that is understood."""


def types(member: Any) -> Iterator[str]:
    """The values of `type`, which may be optional."""
    return _literals(get_type_hints(member)["type"])


def _literals(hint: Any) -> Iterator[str]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) is Union:
        for each in get_args(hint):
            yield from _literals(each)


THEIRS = sorted({each for member in MEMBERS for each in types(member)})


def test_the_types_are_those_of_openai() -> None:
    assert len(MEMBERS) >= 33
    assert {*THEIRS} == READ.keys() | OPAQUE_TYPES
    assert not READ.keys() & OPAQUE_TYPES


@pytest.mark.parametrize("kind", THEIRS)
def test_every_type_of_openais_is_read(kind: str) -> None:
    sent = {"type": kind, **READ.get(kind, {"anything": [1]})}
    [_, item] = parse_responses(body(**items(sent))).input
    assert item == sent if kind in OPAQUE_TYPES else not isinstance(item, dict)
