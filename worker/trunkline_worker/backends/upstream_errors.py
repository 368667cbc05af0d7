"""What goes wrong upstream as failures of ours: the code, what to say, what may be tried. Pure."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Final

import orjson

from trunkline_shared.errors import FailureCode
from trunkline_shared.events import Failed
from trunkline_worker.backends.http_connection import (
    CallError,
    ConnectTimeout,
    NotHttp,
    Silent,
    Unreachable,
)
from trunkline_worker.backends.redact import redacted
from trunkline_worker.backends.resolver import LinkLocal


@dataclass(frozen=True, slots=True)
class Fault:
    """A failed call. `retry`: the same model may do better; `fallback`: another one may.

    `cause` is for the operator's log: what happened, nothing that anybody said.
    """

    failed: Failed
    retry: bool = False
    fallback: bool = True
    cause: str = ""


CUT: Final = Fault(
    Failed("upstream_error", "The model provider broke off its answer."), retry=True, cause="cut"
)
GARBAGE: Final = Fault(
    Failed("upstream_error", "The model provider sent something that is no chat completion."),
    cause="no chat completion",
)

_CONTEXT: Final = re.compile(
    r"context[_ ](length|window|size)|maximum context|prompt is too long|too many (input )?tokens",
    re.IGNORECASE,
)
_QUOTA: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


def of_status(
    status: int, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]
) -> Fault:
    """The fault of an answer that is no success. `secrets` are what no message may quote."""
    asked_s = retry_after_s(headers)
    return _fault(status, _error_of(body), secrets, how=f"status {status}", retry_after=asked_s)


def of_error(error: Any, secrets: Sequence[str]) -> Fault:
    """The fault of an error object in the middle of a stream, where there is no status."""
    fields = error if isinstance(error, dict) else {"message": error}
    return _fault(_status_of(fields), fields, secrets, how="in its stream")


def of_exception(error: CallError) -> Fault:
    """The fault of a call that got no whole answer."""
    return replace(_of_exception(error), cause=error.cause)


def _of_exception(error: CallError) -> Fault:
    if isinstance(error, LinkLocal):
        message = "The profile's base_url leads to a link-local address, which is not allowed."
        return Fault(Failed("agent_unavailable", message), fallback=False)
    if isinstance(error, ConnectTimeout):
        message = "The model provider could not be reached in time."
        return Fault(Failed("upstream_timeout", message), retry=True)
    if isinstance(error, Silent):  # it was long enough: not again with the same model
        return Fault(Failed("upstream_timeout", "The model provider went silent."))
    if isinstance(error, Unreachable):
        message = "The model provider could not be reached."
        return Fault(Failed("upstream_error", message), retry=True)
    if isinstance(error, NotHttp):
        return GARBAGE
    return CUT


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Seconds that the upstream asks to wait for, from `retry-after-ms` or `retry-after`."""
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return ms / 1000
    value = headers.get("retry-after")
    if value is None or (seconds := _number(value)) is not None:
        return None if value is None else seconds
    try:
        at_s = parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, at_s - (time.time() if now_s is None else now_s))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _fault(
    status: int,
    error: dict[str, Any],
    secrets: Sequence[str],
    *,
    how: str,
    retry_after: float | None = None,
) -> Fault:
    code = _code(status, error)
    quota = error.get("code") in _QUOTA
    lead = _SPENT if quota else _LEADS.get(code, _LEADS["upstream_error"])
    param = error.get("param")
    failed = Failed(
        code,
        _message(code, lead, how, redacted(error.get("message"), secrets)),
        param if isinstance(param, str) and code in _CALLERS else None,
        retry_after if code == "upstream_rate_limited" or status >= 500 else None,
    )
    retry = status in (408, 409, 429) or status >= 500
    return Fault(failed, retry=retry and not quota, fallback=code not in _CALLERS, cause=how)


_CALLERS: Final = frozenset({"invalid_request", "context_length_exceeded"})


def _code(status: int, error: dict[str, Any]) -> FailureCode:
    if status in (400, 413, 422):
        named = error.get("code") in ("context_length_exceeded", "string_above_max_length")
        text = str(error.get("message") or "")
        return "context_length_exceeded" if named or _CONTEXT.search(text) else "invalid_request"
    if status == 429:
        return "upstream_rate_limited"
    if status in (408, 504):
        return "upstream_timeout"
    if status == 409 or status >= 500:
        return "upstream_error"
    return "upstream_rejected_us"


_SPENT: Final = "The model provider's quota is used up"
_LEADS: Final[Mapping[str, str]] = {
    "upstream_rejected_us": "The model provider refuses this server's key, model or URL",
    "upstream_rate_limited": "The model provider's rate limit is reached",
    "upstream_timeout": "The model provider took too long",
    "upstream_error": "The model provider failed",
}


def _message(code: FailureCode, lead: str, how: str, said: str) -> str:
    if code in _CALLERS:
        return said or "The model provider does not take this request."
    return f"{lead} ({how}): {said}" if said else f"{lead} ({how})."


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}  # pages of proxies say nothing that a caller should read
    if isinstance(value, list) and value:
        value = value[0]  # Google's
    if not isinstance(value, dict):
        return {}
    error = value.get("error", value)
    if not isinstance(error, dict):
        error = {"message": error}
    if not isinstance(error.get("message"), str):
        detail = value.get("detail") or value.get("message")
        error = {**error, "message": detail if isinstance(detail, str) else None}
    return error


def _status_of(error: dict[str, Any]) -> int:
    code, kind = str(error.get("code")), str(error.get("type"))
    status = int(code) if code.isdecimal() else 0
    if 400 <= status < 600:
        return status
    if "rate_limit" in f"{code} {kind}":
        return 429
    if code == "context_length_exceeded" or kind.startswith("invalid_request"):
        return 400
    return 500
