"""The header by which a client asks to see what an agent does itself."""

from typing import Final

from trunkline_api.errors import invalid
from trunkline_api.headers import Headers

HEADER: Final = "X-Trunkline-Events"
_RAW: Final = HEADER.lower().encode()


def shows_tools(headers: Headers) -> bool:
    """Raises ApiError 400 for what nobody can be shown."""
    if _RAW not in headers:
        return False
    wanted = {each.strip() for each in headers[_RAW].lower().split(b",")} - {b""}
    if not wanted <= {b"tools"}:
        raise invalid(HEADER, f"Invalid value for '{HEADER}': expected tools, or no such header.")
    return bool(wanted)
