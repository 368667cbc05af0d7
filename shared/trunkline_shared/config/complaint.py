"""What pydantic found wrong, in the words of a configuration file's author."""

import difflib
import json
from collections.abc import Collection
from typing import Any

from pydantic_core import ErrorDetails

_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping of keys to values",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "a number of at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping of keys to values",
    "string_pattern_mismatch": "{pattern}",
    "string_type": "a text",
    "tuple_type": "a list",
}
_PATTERNS = {r"\A/": "an absolute path"}
_SECRET = ("api_key", "env", "extra_headers", "extra_body", "headers")


def unknown_key(key: object, known: Collection[str], also: Collection[str] = ()) -> str:
    """A sentence that names the key and the nearest one of those that are `known`, or that are
    understood `also`."""
    near = difflib.get_close_matches(str(key), [*known, *also], n=1)
    if near:
        return f"unknown key {key!r}, did you mean {near[0]!r}?"
    return f"unknown key {key!r}, known are {', '.join(known)}"


def wrong_value(error: ErrorDetails) -> str:
    """A sentence that says what was expected and, unless it may be a secret, what is there."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return "is missing"
    expected = _EXPECTED.get(error["type"])
    if expected is None:
        return error["msg"]
    context: dict[str, Any] = {**error.get("ctx", {})}
    if pattern := context.get("pattern"):
        context["pattern"] = _PATTERNS.get(pattern, "1 to 64 letters, digits, '_' or '-'")
    return f"expected {expected.format(**context)}, got {_shown(error)}"


def _shown(error: ErrorDetails) -> str:
    value = error["input"]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if any(part in _SECRET for part in error["loc"]):
        return "something else"
    if isinstance(value, bool | int | float | str):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 60 else text[:57] + "..."
    return f"a {type(value).__name__}"
