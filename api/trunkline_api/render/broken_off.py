"""The end of a response's stream that is not the end of its run."""

import orjson

from trunkline_api.errors import ApiError, error_body


def broken_off(error: ApiError, number: int) -> bytes:
    """An `error` event with the number of the last event that was told: whoever comes back after
    it misses nothing and is told nothing twice.
    """
    nested = error_body(error)  # clients look for it in either of two places
    about = {key: nested["error"][key] for key in ("code", "message", "param")}
    body = {"type": "error", "sequence_number": number, **about, **nested}
    return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"
