"""Validation errors as OpenAI says them: which member, what is wrong, what it takes."""

from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trunkline_api.errors import ApiError, invalid
from trunkline_api.wire.base import Wire

WireT = TypeVar("WireT", bound=Wire)

# What a member takes, by pydantic's name for the mistake and with the numbers it was told.
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "one of {expected}",
    "string_too_short": "a string that is not empty",
    "string_too_long": "a string of at most {max_length} characters",
    "string_pattern_mismatch": "a string that matches {pattern}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
    "union_tag_not_found": "an object with {discriminator}",
    "union_tag_invalid": "an object whose {discriminator} is one of {expected_tags}",
}
_WRONG_TYPE = frozenset(name for name in _EXPECTED if name.endswith("_type"))


def parse(model: type[WireT], body: bytes) -> WireT:
    """The value in `body`. Raises ApiError 400 that names the member and what it takes."""
    try:
        # `model_validate_json` does just this, and a fifth more to look at options of its own.
        value: WireT = model.__pydantic_validator__.validate_json(body)
    except ValidationError as error:
        raise from_validation(error, body) from None
    # pydantic's parser reads JSON's popular extensions; only who may have used one pays for this.
    # (`in`, which would take a number too, makes an error of these first: twice the search's cost.)
    if body.find(b"NaN") >= 0 or body.find(b"Infinity") >= 0:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise invalid(None, f"The body is not valid JSON: {error}.", "invalid_json") from None
    return value


def from_validation(error: ValidationError, body: bytes) -> ApiError:
    """The 400 for the first member of `body` that is wrong."""
    mistakes = error.errors(include_url=False, include_input=False)
    first = mistakes[0]
    if first["type"] == "json_invalid":
        return _not_json(first, body)
    if first["loc"] == ():
        return invalid(None, "The body must be a JSON object.", "invalid_type")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as strict:
        # pydantic's parser is the laxer one.
        return invalid(None, f"The body is not valid JSON: {strict}.", "invalid_json")
    paths = [_path(mistake, value) for mistake in mistakes]
    path = _deepest(paths)
    return _problem(path, [m for m, p in zip(mistakes, paths, strict=True) if p == path])


def _not_json(mistake: ErrorDetails, body: bytes) -> ApiError:
    if not body.strip():
        return invalid(None, "The body is empty; send a JSON object.", "invalid_json")
    reason = mistake["msg"].removeprefix("Invalid JSON: ")
    return invalid(None, f"The body is not valid JSON: {reason}.", "invalid_json")


def _deepest(paths: Sequence[tuple[str | int, ...]]) -> tuple[str | int, ...]:
    # A value that fits no member of a union is told once for each: the one that got farthest
    # into the value is the one that was meant.
    first = paths[0]
    return max((path for path in paths if path[: len(first)] == first), key=len)


def _path(mistake: ErrorDetails, value: Any) -> tuple[str | int, ...]:
    """The mistake's location without the names of union members, which pydantic mixes in."""
    location = list(mistake["loc"])
    if location[0] == "messages" and len(location) > 2:
        del location[2]  # the role, which might be a member's name too
    path: list[str | int] = []
    for number, step in enumerate(location, start=1):
        if _has(value, step):
            value = value[step]
        elif mistake["type"] != "missing" or number < len(location):
            continue
        path.append(step)
    return tuple(path)


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _problem(path: tuple[str | int, ...], mistakes: list[ErrorDetails]) -> ApiError:
    param = _written(path)
    kinds = {mistake["type"] for mistake in mistakes}
    if kinds == {"union_tag_not_found"} or "missing" in kinds:
        if "missing" not in kinds:
            param = _written((*path, _discriminator(mistakes[0])))
        message = f"Missing required parameter: '{param}'."
        return invalid(param, message, "missing_required_parameter")
    if kinds == {"union_tag_invalid"}:
        tags = mistakes[0]["ctx"]["expected_tags"]
        param = _written((*path, _discriminator(mistakes[0])))
        return invalid(param, f"Invalid value for '{param}': expected one of {tags}.")
    if kinds <= _WRONG_TYPE:
        code = "invalid_type"
    else:
        code = "invalid_value"
        mistakes = [mistake for mistake in mistakes if mistake["type"] not in _WRONG_TYPE]
    expected = " or ".join(dict.fromkeys(map(_expected, mistakes)))
    return invalid(param, f"Invalid value for '{param}': expected {expected}.", code)


def _discriminator(mistake: ErrorDetails) -> str:
    name: str = mistake["ctx"]["discriminator"]
    return name.strip("'")


def _expected(mistake: ErrorDetails) -> str:
    context = mistake.get("ctx", {})
    shown = {
        k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in context.items()
    }
    kind = mistake["type"]
    if kind == "value_error":
        return str(context["error"])
    return _EXPECTED[kind].format(**shown) if kind in _EXPECTED else mistake["msg"]


def _written(path: tuple[str | int, ...]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in path)
    return "".join(steps).removeprefix(".")
