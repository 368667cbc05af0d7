"""What a model gave for a tool's parameters, checked."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from trunkline_worker.toolsets.base import ToolError


def text(arguments: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Raises ToolError."""
    value = arguments.get(name, default)
    if not isinstance(value, str):
        raise ToolError(f"{name} must be a text.")
    return value


def number(arguments: Mapping[str, Any], name: str, default: float) -> float:
    """Raises ToolError."""
    value = arguments.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not _isfinite(value):
        raise ToolError(f"{name} must be a number.")
    return value


def _isfinite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an int, of hundreds of digits
        return False


def flag(arguments: Mapping[str, Any], name: str) -> bool:
    """False if it is not given. Raises ToolError."""
    value = arguments.get(name)
    if value is not None and not isinstance(value, bool):
        raise ToolError(f"{name} must be true or false.")
    return bool(value)


def parameters(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """The JSON Schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }
