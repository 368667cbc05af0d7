from typing import Any, get_args

import orjson
import pytest

from trunkline_api.errors import (
    ApiError,
    envelope,
    from_failure,
    from_refused,
    model_not_found,
    send_error,
)
from trunkline_shared.errors import FailureCode, Refused
from trunkline_shared.events import Failed

STATUSES = {
    "invalid_request": 400,
    "context_length_exceeded": 400,
    "invalid_output": 502,
    "upstream_error": 502,
    "upstream_timeout": 504,
    "upstream_rate_limited": 429,
    "upstream_rejected_us": 502,
    "run_timeout": 504,
    "queue_timeout": 503,
    "queue_full": 429,
    "concurrency_limit": 429,
    "conversation_full": 429,
    "conversation_busy": 409,
    "conversation_not_found": 404,
    "agent_unavailable": 503,
    "cancelled": 409,
    "worker_lost": 500,
    "worker_draining": 503,
    "api_draining": 503,
    "run_lost": 500,
    "redis_unavailable": 503,
    "server_error": 500,
}


def test_every_failure_code_has_its_status() -> None:
    codes = get_args(FailureCode)
    assert {code: from_failure(Failed(code, "")).status for code in codes} == STATUSES


@pytest.mark.parametrize("code", get_args(FailureCode))
def test_every_failure_has_words_type_and_code(code: str) -> None:
    body = orjson.loads(envelope(from_failure(Failed(code, ""))))["error"]
    assert body["code"] == code
    assert body["message"]
    status = STATUSES[code]
    kinds = {429: "rate_limit_error"}
    expected = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    assert body["type"] == expected


@pytest.mark.parametrize("code", get_args(FailureCode))
def test_every_429_and_503_says_when_to_try_again_and_nothing_else_does(code: str) -> None:
    headers = from_failure(Failed(code, "x", retry_after_s=2.5)).headers
    if STATUSES[code] in (429, 503):
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("3", "2500")
        assert headers.get("x-should-retry") != "false"
    else:
        assert "retry-after" not in headers


@pytest.mark.parametrize(
    ("wait_s", "seconds", "ms"),
    [(None, "1", "1000"), (0, "1", "1"), (-3, "1", "1"), (61, "60", "60000"), (1e9, "60", "60000")],
)
def test_a_wait_is_told_within_what_clients_obey(
    wait_s: float | None, seconds: str, ms: str
) -> None:
    headers = ApiError(503, "later", retry_after_s=wait_s).headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == (seconds, ms)


def test_what_cannot_get_better_is_not_retried() -> None:
    final = {
        code
        for code in STATUSES
        if from_failure(Failed(code, "")).headers.get("x-should-retry") == "false"
    }
    assert final == {
        "cancelled",
        "conversation_busy",
        "run_lost",
        "run_timeout",
        "server_error",
        "upstream_rejected_us",
        "worker_lost",
    }


def test_a_failure_keeps_its_message_and_param() -> None:
    error = from_failure(Failed("invalid_request", "too hot", "temperature"))
    assert (error.message, error.param) == ("too hot", "temperature")


def test_a_code_of_a_newer_worker_is_a_server_error_that_keeps_its_name() -> None:
    error = from_failure(Failed("sun_flare", "bright"))
    assert (error.status, error.code, error.message) == (500, "sun_flare", "bright")


def test_a_refusal_carries_the_measured_wait() -> None:
    error = from_refused(Refused("queue_full", "full", 7.25))
    assert error.status == 429
    assert error.headers["retry-after-ms"] == "7250"


def test_the_envelope_always_has_all_four_keys() -> None:
    assert orjson.loads(envelope(ApiError(404, "no"))) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
    }


def test_an_unknown_model_names_the_nearest_one() -> None:
    error = model_not_found("assistnat", ["coder", "assistant"])
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    assert "'assistant'" in error.message
    assert "/v1/models" in model_not_found("x" * 5000, ["assistant"]).message
    assert len(model_not_found("x" * 5000, []).message) < 300


async def test_an_error_is_written_as_one_whole_reply() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    error = ApiError(401, "no key", code="invalid_api_key")
    error.extra_headers = {"www-authenticate": "Bearer"}
    await send_error(send, error, "req_1")
    start, body = sent
    assert start["status"] == 401
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": str(len(body["body"])).encode(),
        b"www-authenticate": b"Bearer",
        b"x-request-id": b"req_1",
    }
    assert body["body"] == envelope(error)
    assert not body.get("more_body")
