"""What pydantic-ai and its providers' clients raise, as faults of ours. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)

from trunkline_shared.events import Failed
from trunkline_worker.backends.http_connection import (
    CallError,
    ConnectTimeout,
    Cut,
    Silent,
    Unreachable,
)
from trunkline_worker.backends.redact import redacted
from trunkline_worker.backends.upstream_errors import Fault, of_error, of_exception, of_status

NO_ANSWER: Final = Fault(
    Failed("upstream_error", "The model provider sent something that is no answer."),
    cause="no answer",
)
_PAYMENT: Final = 402


class Unfit(Exception):
    """What is asked cannot be said to this model; another of the chain may be able to hear it."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        failed = Failed("invalid_request", message, param)
        self.fault = Fault(failed, cause="cannot be asked that")


def of_model_error(error: BaseException, secrets: Sequence[str]) -> Fault:
    """The fault of a call that raised `error`. `secrets` are what no message may quote."""
    inner = _call_error(error)
    if inner is None and isinstance(error, ModelConnectionError):
        inner = _of_connection(error)
    if inner is not None:
        return of_exception(inner)
    match error:
        case Unfit():
            return error.fault
        case ModelHTTPError():
            return _of_http(error, secrets)
        case ModelAPIError(in_stream=True):
            return of_error(_fields(error.body), secrets)
        case ModelAPIError() | UnexpectedModelBehavior():
            return NO_ANSWER
    # What is left is refused before it is sent: pydantic-ai knows what its provider does not take.
    said = redacted(str(error), secrets)
    return Unfit(said or "The model does not take this request.").fault


def _of_connection(error: ModelConnectionError) -> CallError:
    unheard = error.phase in ("connect", "pool")
    if isinstance(error, ModelTimeoutError):
        return ConnectTimeout() if unheard else Silent()
    return Unreachable(_name(error)) if unheard else Cut(_name(error))


def _of_http(error: ModelHTTPError, secrets: Sequence[str]) -> Fault:
    headers = dict(error.headers or {})
    if error.retry_after is not None and "retry-after-ms" not in headers:
        headers["retry-after"] = str(error.retry_after)
    fields, status = _fields(error.body), error.status_code
    if isinstance(error, ModelQuotaExceededError):
        status = _PAYMENT if status < 429 else status
    elif isinstance(error, ModelContextWindowExceededError):
        fields = {**fields, "code": "context_length_exceeded"}
    fault = of_status(status, headers, orjson.dumps(fields, default=str), secrets)
    return replace(fault, cause="in its stream") if error.in_stream else fault


def _fields(body: object) -> dict[str, Any]:
    """The error object in what a client kept of the body; some keep the whole."""
    if not isinstance(body, dict):
        return {"message": body if isinstance(body, str) else None}
    inner = body.get("error", body)
    return inner if isinstance(inner, dict) else {"message": inner}


def _call_error(error: BaseException | None) -> CallError | None:
    """What our own transport raised, under what the clients make of it."""
    while error is not None and not isinstance(error, CallError):
        error = error.__cause__
    return error


def _name(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__
