"""openai-python: every failure is an exception of its kind, in both modes, never a quiet end."""

import time
from typing import Any

import openai
import pytest

from tests.clients.test_openai_python import HELLO
from tests.fakes.system import System
from tests.fakes.upstream import words

EITHER_MODE = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def ask(client: openai.OpenAI, model: str, **more: Any) -> str:
    """The answer's text; a stream is read to its end."""
    reply = client.chat.completions.create(model=model, messages=HELLO, **more)
    if isinstance(reply, openai.Stream):
        return "".join(chunk.choices[0].delta.content or "" for chunk in reply)
    text: str | None = reply.choices[0].message.content
    assert text is not None
    return text


@EITHER_MODE
def test_an_unknown_model_is_not_found(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "wrds-3", stream=stream)
    error = caught.value
    assert (error.code, error.param, error.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert "words-3" in error.message
    assert error.request_id is not None
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


@pytest.mark.parametrize("key", ["wrong", "client-secret-and-more"])
def test_a_wrong_key_is_refused(client: openai.OpenAI, key: str) -> None:
    stranger = client.with_options(api_key=key)
    for refused in (lambda: ask(stranger, "words-3"), stranger.models.list):
        with pytest.raises(openai.AuthenticationError) as caught:
            refused()
        assert caught.value.code == "invalid_api_key"
        assert key not in str(caught.value)


@EITHER_MODE
@pytest.mark.parametrize(
    ("param", "request_"),
    [
        ("n", {"n": 2}),
        ("temperature", {"temperature": 3}),
        ("messages[0].role", {"extra_body": {"messages": [{"role": "boss", "content": "x"}]}}),
        ("messages", {"extra_body": {"messages": []}}),
        ("tool_choice", {"tool_choice": "required"}),
        ("modalities", {"modalities": ["text", "audio"]}),
    ],
)
def test_a_bad_parameter_is_named(
    client: openai.OpenAI, param: str, request_: dict[str, Any], stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "words-3", stream=stream, **request_)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert caught.value.code


@EITHER_MODE
def test_what_the_upstream_does_not_take_is_told_in_its_words(
    client: openai.OpenAI, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError, match="status 400 as asked") as caught:
        ask(client, "status-400", stream=stream)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="maximum context length is 8") as caught:
        ask(client, "context-length", stream=stream)
    assert caught.value.code == "context_length_exceeded"


@EITHER_MODE
@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_upstream_that_refuses_the_server_is_no_fault_of_the_caller(
    client: openai.OpenAI, system: System, status: int, stream: bool
) -> None:
    retrying = client.with_options(max_retries=3)
    with pytest.raises(openai.InternalServerError) as caught:
        ask(retrying, f"status-{status}", stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_rejected_us")
    assert "upstream-secret" not in str(caught.value)
    assert len(system.upstream.requests()) == 1


@EITHER_MODE
def test_a_rate_limit_of_the_upstream_tells_how_long_to_wait(
    client: openai.OpenAI, stream: bool
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, "status-429", stream=stream)
    assert caught.value.code == "upstream_rate_limited"
    assert caught.value.response.headers["retry-after"] == "30"
    assert caught.value.response.headers["retry-after-ms"] == "30000"


@EITHER_MODE
def test_a_client_that_may_retry_waits_as_told_and_succeeds(
    client: openai.OpenAI, system: System, stream: bool
) -> None:
    # The worker tries twice, then the client does: each 429 says 20 ms.
    began = time.monotonic()
    assert ask(client.with_options(max_retries=1), "busy-2", stream=stream) == words(3)
    asked = system.upstream.requests()
    assert len(asked) == 3
    assert asked[-1]["at"] - began >= 2 * 0.02


@EITHER_MODE
def test_the_worker_retries_before_the_first_token(
    client: openai.OpenAI, system: System, stream: bool
) -> None:
    assert ask(client, "flaky-1", stream=stream) == words(3)
    assert len(system.upstream.requests()) == 2


@EITHER_MODE
def test_a_broken_upstream_is_a_server_error(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.InternalServerError, match="status 500 as asked") as caught:
        ask(client, "status-500", stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_error")


@EITHER_MODE
@pytest.mark.parametrize("model", ["html", "cut-0", "error-first"])
def test_an_answer_that_breaks_before_its_first_token_is_a_server_error(
    client: openai.OpenAI, model: str, stream: bool
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, model, stream=stream)
    assert caught.value.status_code == 502


@EITHER_MODE
@pytest.mark.parametrize("model", ["hang", "silence-0"])
def test_silence_before_the_first_token_is_a_time_out(
    client: openai.OpenAI, model: str, stream: bool
) -> None:
    # A stream's headers leave before so long a silence ends: then the error stands in the stream.
    with pytest.raises(openai.APIError, match="went silent") as caught:
        ask(client, model, stream=stream)
    assert caught.value.code == "upstream_timeout"
    if not stream:
        assert isinstance(caught.value, openai.InternalServerError)
        assert caught.value.status_code == 504


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("cut-3", "upstream_error"),
        ("silence-3", "upstream_timeout"),
        ("unfinished-3", "upstream_error"),
        ("error-chunk", "upstream_error"),
        ("garbage", "upstream_error"),
    ],
)
def test_a_stream_that_breaks_raises_after_the_text_it_had(
    client: openai.OpenAI, model: str, code: str
) -> None:
    got = ""
    with (
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream,
    ):
        for chunk in stream:
            got += chunk.choices[0].delta.content or ""
    assert (caught.value.code, caught.value.type) == (code, "server_error")
    assert got == words(2 if model in ("error-chunk", "garbage") else 3)


@pytest.mark.parametrize("model", ["cut-3", "silence-3", "unfinished-3", "error-chunk", "garbage"])
def test_a_whole_answer_that_breaks_is_a_server_error(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.InternalServerError):
        ask(client, model)


@EITHER_MODE
def test_an_answer_without_its_last_line_counts_once_it_said_how_it_ends(
    client: openai.OpenAI, stream: bool
) -> None:
    assert ask(client, "no-done-3", stream=stream) == words(3)
