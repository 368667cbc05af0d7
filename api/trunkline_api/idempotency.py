"""The header `Idempotency-Key`: a request that is sent again under it is the same run."""

import hashlib
from typing import Final, NamedTuple

from trunkline_api.errors import ApiError, invalid
from trunkline_api.headers import Headers
from trunkline_api.shown_tools import shows_tools

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "idempotency-replayed"
"""The header of a reply about a run that an earlier request began."""
_RAW: Final = HEADER.lower().encode()
_MAX_LENGTH: Final = 255
_PRINTABLE: Final = range(0x20, 0x7F)


class IdempotencyKey(NamedTuple):
    """`name` is the principal's and the key's, `digest` says what was asked under it."""

    name: str
    digest: str


class Known(NamedTuple):
    """The run that a key stands for, and the id of its conversation, empty if it has none."""

    run_id: str
    conversation: str


def key_of(
    headers: Headers, path: str, body: bytes, principal: str, conversation: str
) -> IdempotencyKey | None:
    """The request's key, if it has one; `conversation` is what its header names.

    Raises ApiError 400 for what is no key.
    """
    if _RAW not in headers:
        return None
    key = headers[_RAW]
    if not 0 < len(key) <= _MAX_LENGTH or not all(byte in _PRINTABLE for byte in key):
        message = f"'{HEADER}' has 1 to {_MAX_LENGTH} characters, all of printable ASCII: "
        raise invalid(HEADER, message + "send a UUID, for example.")
    asked = hashlib.sha256(f"{path}\n{conversation}\n{shows_tools(headers)}\n".encode())
    asked.update(body)
    return IdempotencyKey(f"{principal}:{hashlib.sha256(key).hexdigest()}", asked.hexdigest())


def known_as(stored: bytes) -> Known:
    """What `submit` answers of a run that was begun before."""
    run_id, _, conversation = stored.decode().split(" ")
    return Known(run_id, conversation)


def key_reused() -> ApiError:
    """422 for a key that stands for another request."""
    return ApiError(
        422,
        f"This '{HEADER}' was sent before with another request: use a key of its own for each.",
        code="idempotency_key_reused",
        param=HEADER,
    )


def result_gone() -> ApiError:
    """409 for a key whose run there is nothing more to tell of."""
    return ApiError(
        409,
        f"The run of this '{HEADER}' is over, and its result was deleted or lost: use a new key.",
        code="idempotency_result_gone",
        param=HEADER,
        should_retry=False,
    )
