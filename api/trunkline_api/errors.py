"""What went wrong, as HTTP: the one place that knows statuses and OpenAI's error types."""

import difflib
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from trunkline_shared.errors import FailureCode, Refused
from trunkline_shared.events import Failed

Send: TypeAlias = Callable[[Any], Awaitable[None]]

INVALID_REQUEST = "invalid_request_error"
RATE_LIMIT = "rate_limit_error"
SERVER_ERROR = "server_error"

# Official clients give up at once when told to wait longer than this.
MAX_RETRY_AFTER_S = 60.0
DEFAULT_RETRY_AFTER_S = 1.0


@dataclass(eq=False)
class ApiError(Exception):
    """A reply that is not 2xx. `should_retry` None leaves it to the client's own rule.

    Every 429 and 503 tells how long to wait, 1 s unless `retry_after_s` says otherwise.
    `detail` is what paths under /api say beside the envelope; None for the message.
    """

    status: int
    message: str
    type: str = INVALID_REQUEST
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    detail: str | Sequence[Mapping[str, Any]] | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"

    @property
    def headers(self) -> dict[str, str]:
        """`retry-after`, `retry-after-ms`, `x-should-retry` and extras, where they apply."""
        headers = dict(self.extra_headers)
        wait_s = self.retry_after_s
        if wait_s is None and self.status in (429, 503):
            wait_s = DEFAULT_RETRY_AFTER_S
        if wait_s is not None:
            wait_s = min(max(wait_s, 0.001), MAX_RETRY_AFTER_S)
            headers["retry-after"] = str(math.ceil(wait_s))
            headers["retry-after-ms"] = str(math.ceil(wait_s * 1000))
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    type: str
    words: str
    should_retry: bool | None = None


# `should_retry` False: the run may have acted already, or the same request would fail again.
_REPLIES: dict[FailureCode, _Reply] = {
    "invalid_request": _Reply(400, INVALID_REQUEST, "The agent cannot take this request."),
    "context_length_exceeded": _Reply(
        400, INVALID_REQUEST, "The input is longer than the agent's model can take."
    ),
    "invalid_output": _Reply(
        502, SERVER_ERROR, "The model's answer does not fit the format that was asked for.", False
    ),
    "upstream_error": _Reply(502, SERVER_ERROR, "The agent's model provider failed."),
    "upstream_timeout": _Reply(504, SERVER_ERROR, "The agent's model provider did not answer."),
    "upstream_rate_limited": _Reply(
        429, RATE_LIMIT, "The agent's model provider limits its rate; try again later."
    ),
    "upstream_rejected_us": _Reply(
        502, SERVER_ERROR, "The agent's model provider refuses this server's access.", False
    ),
    "run_timeout": _Reply(504, SERVER_ERROR, "The run took longer than the agent allows.", False),
    "queue_timeout": _Reply(503, SERVER_ERROR, "No worker was free in time; try again later."),
    "queue_full": _Reply(429, RATE_LIMIT, "Too many requests are waiting; try again later."),
    "concurrency_limit": _Reply(
        429, RATE_LIMIT, "This API key has too many requests in progress; try again later."
    ),
    "conversation_full": _Reply(
        429, RATE_LIMIT, "Too many requests are waiting in this conversation; try again later."
    ),
    # The official clients would wait as long once more, and again.
    "conversation_busy": _Reply(
        409, INVALID_REQUEST, "The conversation is busy with an earlier request.", False
    ),
    "conversation_not_found": _Reply(404, INVALID_REQUEST, "There is no such conversation."),
    "agent_unavailable": _Reply(503, SERVER_ERROR, "No worker can run this agent now."),
    # Not 499, which no client knows: a conflict with whoever cancelled, and not to be repeated.
    "cancelled": _Reply(409, INVALID_REQUEST, "The run was cancelled.", False),
    # A run gets here before its first output only after it took down several workers.
    "worker_lost": _Reply(500, SERVER_ERROR, "The worker that ran this request died.", False),
    "worker_draining": _Reply(503, SERVER_ERROR, "The worker is shutting down; try again."),
    "api_draining": _Reply(503, SERVER_ERROR, "The server is shutting down; try again."),
    "run_lost": _Reply(500, SERVER_ERROR, "The run's events are gone.", False),
    "redis_unavailable": _Reply(503, SERVER_ERROR, "The server's queue is away; try again."),
    "server_error": _Reply(500, SERVER_ERROR, "The server had an error.", False),
}


def from_failure(failed: Failed) -> ApiError:
    """The reply for a run that failed; a code of a newer worker counts as `server_error`."""
    reply = _REPLIES.get(failed.code, _REPLIES["server_error"])  # type: ignore[call-overload]
    return ApiError(
        reply.status,
        failed.message or reply.words,
        reply.type,
        failed.code,
        failed.param,
        failed.retry_after_s if reply.status in (429, 503) else None,
        reply.should_retry,
    )


def from_refused(refused: Refused) -> ApiError:
    """The reply for a run that was not admitted."""
    param = "conversation" if refused.code == "conversation_not_found" else None
    return from_failure(
        Failed(refused.code, refused.message, param, retry_after_s=refused.retry_after_s)
    )


def redis_away() -> ApiError:
    """503 for what needs Redis, while it does not answer."""
    words = "The server's queue is away; try again later."
    return from_failure(Failed("redis_unavailable", words))


def error_body(error: ApiError) -> dict[str, dict[str, str | None]]:
    """OpenAI's envelope as a value: always all four keys."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def envelope(error: ApiError) -> bytes:
    """OpenAI's envelope as JSON."""
    return orjson.dumps(error_body(error))


def invalid(param: str | None, message: str, code: str | None = "invalid_value") -> ApiError:
    """400 for a request whose `param` has to change."""
    return ApiError(400, message, INVALID_REQUEST, code, param)


def no_conversation(param: str) -> ApiError:
    """404 for an id that is none of this principal's conversations."""
    return from_failure(Failed("conversation_not_found", "", param))


def unreadable_conversation(error: Exception) -> ApiError:
    """409 for what another key sealed, or another version wrote."""
    message = f"The conversation cannot be read: {error}."
    return ApiError(409, message, code="conversation_unreadable", should_retry=False)


def unprocessable(mistakes: Iterable[Mapping[str, Any]]) -> ApiError:
    """The 422 of paths under /api, for what pydantic has against a request.

    Quotes nothing of what was sent, which may be a secret.
    """
    detail = [
        {"type": each["type"], "loc": list(each["loc"]), "msg": each["msg"]} for each in mistakes
    ]
    # The first step says where it was: "body", "path", "query".
    param = ".".join(str(step) for step in detail[0]["loc"][1:]) or None
    said = detail[0]["msg"].removeprefix("Value error, ")
    message = f"Invalid value for '{param}': {said}." if param else f"The body is wrong: {said}."
    return ApiError(422, message, code="invalid_value", param=param, detail=detail)


def model_not_found(name: str, agents: Iterable[str]) -> ApiError:
    """404 for a `model` that is no agent here; names the nearest one."""
    shown = name if len(name) <= 100 else name[:100] + "..."
    near = difflib.get_close_matches(name[:200], list(agents), n=1)
    hint = f"did you mean {near[0]!r}?" if near else "GET /v1/models lists those that do."
    return ApiError(
        404, f"The model {shown!r} does not exist; {hint}", code="model_not_found", param="model"
    )


def profile_not_found(name: str) -> ApiError:
    """404 for a `model` that is no saved profile."""
    return ApiError(
        404,
        f"Profile '{name}' not found; GET /v1/models lists those that exist.",
        code="model_not_found",
        param="model",
        detail=f"Profile '{name}' not found",
    )


async def send_error(send: Send, error: ApiError, request_id: str | None = None) -> None:
    """Writes the whole reply. `request_id` None leaves `x-request-id` to whoever wraps `send`."""
    body = envelope(error)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    headers |= error.headers
    if request_id is not None:
        headers["x-request-id"] = request_id
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
