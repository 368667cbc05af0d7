"""Bodies of chat completion requests, whole and with one thing wrong."""

from typing import Any

import orjson
import pytest

from trunkline_api.errors import ApiError
from trunkline_api.wire.chat import parse_chat

MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_parameter"


ASKS: dict[str, Any] = {"role": "user", "content": "hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SHELL = {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}


def body(**members: Any) -> bytes:
    return orjson.dumps({"model": "echo", "messages": [ASKS], **members})


def problem(raw: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_chat(raw)
    error = caught.value
    assert error.status == 400
    assert error.type == "invalid_request_error"
    assert len(error.message) < 400
    return error


def in_messages(*messages: Any) -> dict[str, Any]:
    return {"messages": [ASKS, *messages]}


def in_parts(*parts: Any) -> dict[str, Any]:
    return in_messages({"role": "user", "content": list(parts)})


def calls(**call: Any) -> dict[str, Any]:
    return in_messages({"role": "assistant", "content": None, "tool_calls": [call]})


def named(name: str, kind: str = "function") -> dict[str, Any]:
    return {"type": kind, kind: {"name": name}}


def allowed(*tools: Any, mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}
