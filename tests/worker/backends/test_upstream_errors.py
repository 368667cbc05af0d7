import json
from typing import Any

import pytest

from trunkline_worker.backends.http_connection import (
    ConnectTimeout,
    Cut,
    NotHttp,
    Silent,
    Unreachable,
)
from trunkline_worker.backends.upstream_errors import (
    Fault,
    of_error,
    of_exception,
    of_status,
    retry_after_s,
)

KEY = "my-secret-key"


def status(number: int, message: str = "why", **error: Any) -> Fault:
    body = json.dumps({"error": {"message": message, **error}}).encode()
    return of_status(number, {}, body, (KEY,))


@pytest.mark.parametrize(
    ("number", "code", "retry", "fallback"),
    [
        (400, "invalid_request", False, False),
        (413, "invalid_request", False, False),
        (422, "invalid_request", False, False),
        (401, "upstream_rejected_us", False, True),
        (402, "upstream_rejected_us", False, True),
        (403, "upstream_rejected_us", False, True),
        (404, "upstream_rejected_us", False, True),
        (307, "upstream_rejected_us", False, True),
        (408, "upstream_timeout", True, True),
        (409, "upstream_error", True, True),
        (429, "upstream_rate_limited", True, True),
        (500, "upstream_error", True, True),
        (503, "upstream_error", True, True),
        (504, "upstream_timeout", True, True),
        (529, "upstream_error", True, True),
    ],
)
def test_each_status_has_its_code_and_what_may_be_tried(
    number: int, code: str, retry: bool, fallback: bool
) -> None:
    fault = status(number)
    assert (fault.failed.code, fault.retry, fault.fallback) == (code, retry, fallback)
    assert "why" in fault.failed.message


def test_a_callers_fault_is_told_in_the_upstreams_words_with_the_parameter() -> None:
    failed = status(400, "Too hot", param="temperature").failed
    assert (failed.message, failed.param) == ("Too hot", "temperature")


def test_a_param_of_our_own_fault_is_not_the_callers_business() -> None:
    assert status(404, param="model").failed.param is None


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x", "code": "context_length_exceeded"},
        {"message": "This model's maximum context length is 4096 tokens."},
        {"message": "prompt is too long: 300000 tokens"},
    ],
)
def test_a_too_long_transcript_is_told_apart(error: dict[str, Any]) -> None:
    assert status(400, **error).failed.code == "context_length_exceeded"


def test_a_used_up_quota_is_not_tried_again() -> None:
    fault = status(429, code="insufficient_quota")
    assert (fault.retry, fault.fallback) == (False, True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "plain"}', "plain"),
        (b'{"message": "bare"}', "bare"),
        (b'{"detail": "fastapi"}', "fastapi"),
        (b'[{"error": {"message": "google"}}]', "google"),
        (b"<html>nginx 10.0.0.7</html>", None),
        (b"", None),
        (b'{"error": null}', None),
        (b'{"detail": [{"loc": ["body"]}]}', None),
        (b"[]", None),
        (b'"text"', None),
    ],
)
def test_messages_are_found_in_every_usual_shape(body: bytes, message: str | None) -> None:
    said = of_status(422, {}, body, ()).failed.message
    assert said == (message or "The model provider does not take this request.")


def test_keys_and_addresses_are_in_no_message() -> None:
    said = status(
        401,
        f"Key {KEY} or sk-abc123def456 or sk-ab***yz bad at http://10.1.2.3:8000/v1 "
        "and 10.1.2.3:80 and http://vllm:8000/x, see https://platform.openai.com/docs",
    ).failed.message
    for secret in (KEY, "sk-abc", "yz", "10.1.2.3", "vllm"):
        assert secret not in said
    assert "https://platform.openai.com/docs" in said


def test_tracebacks_are_not_passed_on() -> None:
    said = status(500, 'Traceback (most recent call last):\n File "/app/x.py"').failed.message
    assert said == "The model provider failed (status 500)."


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "-2"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_the_headers(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers, now_s=60.0) == seconds


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "x", "code": 429}, "upstream_rate_limited"),
        ({"message": "x", "code": "502"}, "upstream_error"),
        ({"message": "x", "type": "rate_limit_error"}, "upstream_rate_limited"),
        ({"message": "x", "type": "invalid_request_error"}, "invalid_request"),
        ({"message": "x", "code": "context_length_exceeded"}, "context_length_exceeded"),
        ({"message": "x"}, "upstream_error"),
        ("just text", "upstream_error"),
        (["odd"], "upstream_error"),
    ],
)
def test_errors_in_a_stream_have_codes_too(error: Any, code: str) -> None:
    failed = of_error(error, ()).failed
    assert failed.code == code
    assert "status" not in failed.message


def test_exceptions_say_nothing_of_the_inside() -> None:
    timeouts = (ConnectTimeout("10.0.0.1"), Silent("10.0.0.1"))
    for error in (*timeouts, Cut("10.0.0.1"), Unreachable("10.0.0.1"), NotHttp("10.0.0.1")):
        fault = of_exception(error)
        expected = "upstream_timeout" if error in timeouts else "upstream_error"
        assert fault.failed.code == expected
        assert "10.0.0.1" not in fault.failed.message
        assert fault.cause == "10.0.0.1"
    assert of_exception(timeouts[0]).retry and not of_exception(timeouts[1]).retry
