"""What is said over the WebSocket of /v1/responses beyond a response's own events."""

import re
from dataclasses import dataclass
from typing import Any, Final

import orjson

from trunkline_api.errors import INVALID_REQUEST, ApiError, error_body, invalid
from trunkline_api.wire.problems import parse
from trunkline_api.wire.response_rules import check_responses
from trunkline_api.wire.responses import ResponsesRequest

_STREAM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")


@dataclass(slots=True)
class ClientEvent:
    """One message of a client, of which only this much is known to be right.

    `stream_id` None is the lane of those that name none. Whoever has read the body empties it: it
    may be large, and a response long.
    """

    type: str
    stream_id: str | None
    body: bytes


class ResponseCreate(ResponsesRequest):
    """The event `response.create`: a Responses request whose reply is always a stream."""

    generate: bool | None = None

    @property
    def is_warm_up(self) -> bool:
        return self.generate is False


def read_event(body: bytes) -> ClientEvent:
    """Raises ApiError 400 that names what is wrong."""
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(None, f"The message is not valid JSON: {error}.", "invalid_json") from None
    if not isinstance(values, dict):
        raise invalid(None, "The message must be a JSON object.", "invalid_type")
    stream_id = values.get("stream_id")
    if stream_id is not None and not _is_stream_id(stream_id):
        message = (
            "Invalid 'stream_id': 1 to 256 letters, digits, '_', '-' and '.', or leave it out."
        )
        raise invalid("stream_id", message, "invalid_stream_id")
    return ClientEvent(str(values.get("type")), stream_id, body)


def _is_stream_id(value: Any) -> bool:
    return isinstance(value, str) and _STREAM_ID.fullmatch(value) is not None


def parse_create(body: bytes) -> ResponseCreate:
    """The request of a `response.create`. Raises ApiError 400 that names the member."""
    request = parse(ResponseCreate, body)
    if request.background:
        message = "What is asked for here runs in the foreground: leave 'background' out, or POST."
        raise invalid("background", message, "unsupported_parameter")
    if request.stream is False:
        message = "Over a WebSocket every response is streamed: leave 'stream' out."
        raise invalid("stream", message, "unsupported_parameter")
    request.stream = True
    if request.is_warm_up:
        request.store = False  # nothing came of it that others could ask for
    check_responses(request)
    return request


def in_lane(event: bytes, stream_id: str | None) -> bytes:
    """A JSON object that says which lane it is of, if that has a name."""
    return (
        event if stream_id is None else b'%b,"stream_id":"%b"}' % (event[:-1], stream_id.encode())
    )


def error_event(error: ApiError) -> bytes:
    """The event for a message that was refused, or a response that never began."""
    body: dict[str, Any] = error_body(error)["error"]
    if error.headers:
        body["headers"] = error.headers
    return orjson.dumps({"type": "error", "status": error.status, "error": body})


def steer_failed(body: bytes) -> bytes:
    """The answer to `response.steer`: an agent takes no words while it works.

    Raises ApiError 400 for what names no response or brings no input.
    """
    values = orjson.loads(body)
    steer = {name: values.get(name) for name in ("input", "previous_response_id")}
    for name, value in steer.items():
        if not value:
            message = f"Missing required parameter: '{name}'."
            raise invalid(name, message, "missing_required_parameter")
    message = "No agent here can be steered: wait for its end, then send 'response.create'."
    code = "steering_not_supported"
    error = {"type": INVALID_REQUEST, "code": code, "message": message}
    event = {"type": "response.steer.failed", "sequence_number": 0, "error": error, "steer": steer}
    return orjson.dumps(event)
