"""The headers by which OpenHands' clients name what a request is in their traces."""

import re
from typing import Any, Final

import orjson

from trunkline_api.errors import ApiError, invalid
from trunkline_api.headers import Headers

_SPAN_NAME: Final = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


def span_name(headers: Headers) -> str | None:
    """The request's span name; its tags and parent are taken without effect.

    Raises ApiError 400 for a name that is none, and for metadata that traces could not hold.
    """
    if metadata := headers.get(b"x-openhands-observability-metadata"):
        _check_metadata(metadata)
    name = headers.get(b"x-openhands-observability-span-name", b"").decode("latin-1")
    if name and not _SPAN_NAME.fullmatch(name):
        raise _refused("Span-Name", "1 to 128 letters, digits and ._:/-")
    return name or None


def _check_metadata(metadata: bytes) -> None:
    try:
        values = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        values = None
    if not isinstance(values, dict) or not all(map(_is_attribute, values.values())):
        raise _refused("Metadata", "a JSON object of strings, numbers, booleans or lists of these")


def _is_attribute(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(each, str | int | float) for each in values)


def _refused(header: str, expected: str) -> ApiError:
    name = f"X-OpenHands-Observability-{header}"
    return invalid(name, f"Invalid value for '{name}': expected {expected}.")
