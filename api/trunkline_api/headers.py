"""A request's headers by their names."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

Headers: TypeAlias = Mapping[bytes, bytes]
"""Names are in lower case, as ASGI has them."""


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """A header that was sent more than once is one list (RFC 9110, 5.3)."""
    headers = list(headers)
    found = dict(headers)
    if len(found) < len(headers):
        found.clear()
        for name, value in headers:
            found[name] = found[name] + b", " + value if name in found else value
    return found
