"""What providers' clients raise, as failures of ours."""

import pytest
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
    UserError,
)

from trunkline_worker.agent_lane.faults import Unfit, of_model_error

SECRET = "sk-very-secret"
BODY = {"error": {"message": f"It is {SECRET}'s fault.", "param": "top_p"}}
spent = ModelHTTPError.for_category(
    ModelQuotaExceededError, status_code=400, model_name="m", body=BODY
)
long = ModelHTTPError.for_category(
    ModelContextWindowExceededError, status_code=400, model_name="m", body=BODY
)


@pytest.mark.parametrize(
    ("error", "code", "retry", "fallback"),
    [
        (ModelHTTPError(400, "m", BODY), "invalid_request", False, False),
        (ModelHTTPError(403, "m", BODY), "upstream_rejected_us", False, True),
        (ModelHTTPError(503, "m", "busy"), "upstream_error", True, True),
        (ModelHTTPError(429, "m", None, retry_after=3), "upstream_rate_limited", True, True),
        (ModelHTTPError(529, "m", BODY, in_stream=True), "upstream_error", True, True),
        (spent, "upstream_rejected_us", False, True),
        (long, "context_length_exceeded", False, False),
        (ModelTimeoutError("m", "t", phase="connect"), "upstream_timeout", True, True),
        (ModelTimeoutError("m", "t", phase="read"), "upstream_timeout", False, True),
        (ModelConnectionError("m", "c", phase="connect"), "upstream_error", True, True),
        (ModelConnectionError("m", "c", phase="read"), "upstream_error", True, True),
        (ModelAPIError("m", "e", body=BODY, in_stream=True), "upstream_error", True, True),
        (ModelAPIError("m", "no JSON"), "upstream_error", False, True),
        (UnexpectedModelBehavior("empty"), "upstream_error", False, True),
        (UserError("No video here."), "invalid_request", False, True),
        (Unfit("No seed.", "seed"), "invalid_request", False, True),
    ],
)
def test_an_error_has_its_code_and_what_may_be_tried(
    error: Exception, code: str, retry: bool, fallback: bool
) -> None:
    fault = of_model_error(error, [SECRET])
    assert (fault.failed.code, fault.retry, fault.fallback) == (code, retry, fallback)
    assert fault.cause and SECRET not in fault.failed.message


def test_what_the_provider_names_and_asks_for_is_handed_on() -> None:
    assert of_model_error(ModelHTTPError(400, "m", BODY), []).failed.param == "top_p"
    waits = ModelHTTPError(429, "m", None, headers={"retry-after-ms": "1500"})
    assert of_model_error(waits, []).failed.retry_after_s == 1.5
