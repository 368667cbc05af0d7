"""What may go wrong upstream, before and after the first token, and what a caller sees of it."""

import pytest

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.backends.driving import (
    chat,
    events_of,
    failed,
    finished,
    request,
    spec,
    text_in,
)
from trunkline_worker.backends import exchange
from trunkline_worker.backends.retry import Retry


@pytest.mark.parametrize(
    ("model", "code", "calls"),
    [
        ("status-400", "invalid_request", 1),
        ("context-length", "context_length_exceeded", 1),
        ("status-401", "upstream_rejected_us", 1),
        ("status-404", "upstream_rejected_us", 1),
        ("status-307", "upstream_rejected_us", 1),
        ("status-429", "upstream_rate_limited", 1),  # asks to wait for longer than we do
        ("status-500", "upstream_error", 2),
        ("error-first", "upstream_error", 2),
        ("unfinished-0", "upstream_error", 2),
        ("cut-0", "upstream_error", 2),
        ("html", "upstream_error", 1),
    ],
)
async def test_what_fails_before_the_first_token_has_its_code_and_its_retries(
    upstream: FakeUpstream, model: str, code: str, calls: int
) -> None:
    async with chat(spec(upstream, model, api_key="sk-very-secret-key")) as backend:
        events = await events_of(backend, request())
    assert len(events) == 1
    assert failed(events).code == code
    assert len(upstream.requests) == calls
    for inside in ("very-secret", "127.0.0.1", str(upstream.port)):
        assert inside not in failed(events).message


@pytest.mark.parametrize(
    ("model", "code", "count"),
    [
        ("cut-5", "upstream_error", 5),
        ("unfinished-5", "upstream_error", 5),
        ("garbage", "upstream_error", 2),
        ("error-chunk", "upstream_error", 2),
        ("silence-3", "upstream_timeout", 3),
    ],
)
async def test_what_fails_after_the_first_token_is_never_tried_again(
    upstream: FakeUpstream, model: str, code: str, count: int
) -> None:
    models = [spec(upstream, model), spec(upstream, "words-3")]
    async with chat(*models, silence_timeout_s=0.3) as backend:
        events = await events_of(backend, request())
    assert text_in(events) == words(count)
    assert failed(events).code == code
    usage = failed(events).usage
    assert usage is not None and usage.output_tokens == count
    assert len(upstream.requests) == 1


async def test_silence_before_the_first_token_goes_to_the_next_model(
    upstream: FakeUpstream,
) -> None:
    models = [spec(upstream, "hang"), spec(upstream, "silence-0"), spec(upstream, "words-2")]
    async with chat(*models, silence_timeout_s=0.2) as backend:
        assert text_in(await events_of(backend, request())) == words(2)
    assert [seen.model for seen in upstream.requests] == ["hang", "silence-0", "words-2"]


@pytest.mark.parametrize("model", ["flaky-1", "busy-1"])
async def test_a_passing_trouble_is_not_noticed(upstream: FakeUpstream, model: str) -> None:
    async with chat(spec(upstream, model)) as backend:
        assert text_in(await events_of(backend, request())) == words(3)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("first", ["status-500", "status-401", "status-404", "status-429", "html"])
async def test_the_chain_goes_on_where_the_fault_is_not_the_callers(
    upstream: FakeUpstream, first: str
) -> None:
    async with chat(spec(upstream, first), spec(upstream, "words-2")) as backend:
        events = await events_of(backend, request())
    assert text_in(events) == words(2)
    assert finished(events).model == "words-2"


async def test_a_callers_fault_ends_the_chain(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "status-400"), spec(upstream, "words-2")) as backend:
        failure = failed(await events_of(backend, request()))
    assert (failure.code, failure.param) == ("invalid_request", "temperature")
    assert len(upstream.requests) == 1


async def test_the_wait_that_the_upstream_asks_for_is_handed_on(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "status-429")) as backend:
        assert failed(await events_of(backend, request())).retry_after_s == 30


async def test_a_port_where_nobody_listens_is_an_upstream_error(
    upstream: FakeUpstream, unused_tcp_port: int
) -> None:
    model = spec(upstream, "x", base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    async with chat(model) as backend:
        failure = failed(await events_of(backend, request()))
    assert failure.code == "upstream_error"
    assert failure.message == "The model provider could not be reached."


async def test_a_dead_pooled_connection_is_no_failure(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "words-3"), retry=Retry(first_s=0.001)) as backend:
        await events_of(backend, request())
        upstream.drop_connections()
        assert text_in(await events_of(backend, request())) == words(3)


async def test_an_upstream_that_forgets_to_end_its_stream_is_not_waited_for(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_USAGE_WAIT_S", 0.1)
    async with chat(spec(upstream, "open-end")) as backend:
        events = await events_of(backend, request())
    assert (text_in(events), finished(events).reason) == (words(3), "stop")
