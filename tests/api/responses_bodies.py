"""Bodies of Responses requests, whole and with one thing wrong."""

import json
from typing import Any

import pytest

from trunkline_api.additional_tools import with_all_tools
from trunkline_api.errors import ApiError
from trunkline_api.wire.responses import parse_responses

MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_parameter"

ASKS: dict[str, Any] = {"role": "user", "content": "hi"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "name": "weather", "parameters": SCHEMA}
SHELL = {"type": "custom", "name": "shell", "format": {"type": "text"}}
SEARCH = {"type": "web_search", "search_context_size": "low"}
SPACE = {"type": "namespace", "name": "crm", "description": "CRM", "tools": [WEATHER]}


def body(**members: Any) -> bytes:
    return json.dumps({"model": "echo", "input": "hi", **members}).encode()


def problem(raw: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        with_all_tools(parse_responses(raw), [])
    error = caught.value
    assert error.status == 400
    assert error.type == "invalid_request_error"
    assert len(error.message) < 400
    return error


def items(*found: Any) -> dict[str, Any]:
    return {"input": [ASKS, *found]}


def more(*tools: Any) -> dict[str, Any]:
    return {"type": "additional_tools", "role": "developer", "tools": list(tools)}


def parts(*found: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(found)}]}


def schema(**members: Any) -> dict[str, Any]:
    return {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, **members}}}
