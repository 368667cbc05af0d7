import json
from base64 import b64encode
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.backends.driving import (
    batches_of,
    chat,
    events_of,
    failed,
    finished,
    request,
    said,
    spec,
    text_in,
)
from trunkline_shared.config.models import Limits
from trunkline_shared.events import ReasoningDelta, RefusalDelta, ToolArgsDelta, ToolCallStart


async def test_the_answer_is_whole_and_accounted_for(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "words-16", provider="openai", api_key="sk-mine")) as backend:
        events = await events_of(backend, request())
    assert text_in(events) == words(16)
    end = finished(events)
    assert (end.reason, end.model) == ("stop", "words-16")
    assert (end.usage.input_tokens, end.usage.output_tokens, end.usage.cost) == (2, 16, None)
    assert (end.service_tier, end.system_fingerprint) == ("default", "fp_fake")
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-mine"


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("slow-5x200", words(5)),
        ("split-4", words(4)),
        ("eager", "all at once"),
        ("whole", words(3)),
        ("no-done-4", words(4)),
        ("no-usage", words(3)),
        ("joint-usage", words(3)),
        ("words-500", words(500)),
    ],
)
async def test_every_way_to_send_an_answer_is_read(
    upstream: FakeUpstream, model: str, text: str
) -> None:
    async with chat(spec(upstream, model)) as backend:
        events = await events_of(backend, request())
    assert text_in(events) == text
    assert finished(events).reason == "stop"
    assert finished(events).usage.output_tokens >= 1


async def test_reasoning_and_its_usage(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "reasoning")) as backend:
        events = await events_of(backend, request("one two three four"))
    assert events[:2] == [ReasoningDelta("Let me "), ReasoningDelta("think.")]
    usage = finished(events).usage
    assert (usage.cached_tokens, usage.reasoning_tokens) == (2, 2)


async def test_refusals_and_finish_reasons(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "refusal")) as backend:
        events = await events_of(backend, request())
        assert events[:-1] == [RefusalDelta("I will "), RefusalDelta("not.")]
    for model, reason in (("length", "length"), ("filter", "content_filter")):
        async with chat(spec(upstream, model)) as backend:
            assert finished(await events_of(backend, request())).reason == reason


@pytest.mark.parametrize("model", ["tools-parallel", "tools-odd"])
async def test_tools_are_called_and_their_results_handed_back(
    upstream: FakeUpstream, model: str
) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "name": name, "spec": schema} for name in ("a", "b")]
    async with chat(spec(upstream, model)) as backend:
        events = await events_of(backend, request(tools=tools))
        assert finished(events).reason == "tool_calls"
        starts = [event for event in events if isinstance(event, ToolCallStart)]
        assert [(start.index, start.name) for start in starts] == [(0, "a"), (1, "b")]
        arguments = "".join(e.text for e in events if isinstance(e, ToolArgsDelta) and e.index == 1)
        assert json.loads(arguments) == {"city": "text"}
        call: Any = {
            "type": "tool_call",
            "id": starts[0].call_id,
            "name": "a",
            "arguments": "{}",
            "kind": "function",
        }
        result: Any = {
            "type": "tool_result",
            "id": starts[0].call_id,
            "content": [{"type": "text", "text": "sunny"}],
        }
        run = request(transcript=[said("q"), call, result], tools=tools)
        assert text_in(await events_of(backend, run)) == "The tool said: sunny"


async def test_structured_output_and_log_probabilities(upstream: FakeUpstream) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    async with chat(spec(upstream, "json")) as backend:
        form = {"type": "json_schema", "name": "n", "schema": schema}
        assert json.loads(text_in(await events_of(backend, request(format=form)))) == {"n": 1}
    async with chat(spec(upstream, "words-2")) as backend:
        events = await events_of(backend, request(options={"logprobs": True}))
        assert [event.logprobs[0]["token"] for event in events[:-1]] == ["w0 ", "w1 "]  # type: ignore


async def test_the_gate_is_asked_before_every_call(upstream: FakeUpstream) -> None:
    asked: list[int] = []

    async def gate() -> None:
        asked.append(len(upstream.requests))

    async with chat(spec(upstream, "flaky-1")) as backend:
        await batches_of(backend, request(), gate)
    assert asked == [0, 1]


async def test_max_tokens_is_sent_and_an_upstream_that_ignores_it_is_cut(
    upstream: FakeUpstream,
) -> None:
    limits = Limits(max_tokens=100)
    async with chat(spec(upstream, "words-500"), limits=limits) as backend:
        events = await events_of(backend, request(options={"max_output_tokens": 400}))
    assert text_in(events) == words(100)
    assert (finished(events).reason, finished(events).detail) == (
        "length",
        "limits.max_tokens reached",
    )
    async with chat(spec(upstream, "greedy-500"), limits=limits) as backend:
        events = await events_of(backend, request())
    assert 100 <= len(events) < 110
    assert finished(events).usage.output_tokens == 100
    assert finished(events).detail == "limits.max_tokens reached"


async def test_a_callers_own_limit_needs_no_explanation(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "words-500")) as backend:
        events = await events_of(backend, request(options={"max_output_tokens": 3}))
    assert (finished(events).reason, finished(events).detail) == ("length", None)


async def test_max_cost_bounds_the_output_where_the_price_is_known(upstream: FakeUpstream) -> None:
    priced = spec(
        upstream,
        "gpt-4o-mini",
        provider="openai",
        prices_id="openai",
        extra_body={"model": "greedy-500"},
    )
    # 0.60 dollars for a million tokens of output
    async with chat(priced, limits=Limits(max_cost=0.6e-6 * 50)) as backend:
        events = await events_of(backend, request())
        end = finished(events)
        assert (end.reason, end.detail) == ("length", "limits.max_cost reached")
        assert end.usage.cost is not None and 0 < end.usage.cost <= 0.6e-6 * 50
        assert upstream.requests[0].body["max_tokens"] == 49
        failure = failed(await events_of(backend, request("x" * 10_000)))
        assert failure.code == "invalid_request" and "max_cost" in failure.message
        assert len(upstream.requests) == 1


async def test_a_large_budget_is_counted_here_and_not_sent(upstream: FakeUpstream) -> None:
    # providers refuse a max_tokens beyond what their model can say
    priced = spec(upstream, "gpt-4o-mini", provider="openai", prices_id="openai")
    async with chat(priced, limits=Limits(max_cost=1.0)) as backend:
        await events_of(backend, request())
        await events_of(backend, request(options={"max_output_tokens": 9}))
    assert [seen.body.get("max_tokens") for seen in upstream.requests] == [None, 9]


async def test_connections_are_used_again(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "words-16"), spec(upstream, "slow-2x100")) as backend:
        for _ in range(5):
            await events_of(backend, request())
    assert upstream.connections == 1
    assert len(upstream.requests) == 5


async def test_extra_headers_stand_over_ours_and_prompts_go_first(upstream: FakeUpstream) -> None:
    headers = {"authorization": "Basic x", "X-Team": "a"}
    model = spec(upstream, "echo-request", api_key="sk-1", extra_headers=headers)
    async with chat(model, system_prompt=("Be brief.",)) as backend:
        sent = json.loads(text_in(await events_of(backend, request("hi"))))
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    seen = upstream.requests[0].headers
    assert (seen["authorization"], seen["x-team"]) == ("Basic x", "a")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Basic " + b64encode(b"me:p@ss/word").decode()),
        ({"api_key": "sk-my-own-key"}, "Bearer sk-my-own-key"),
        ({"extra_headers": {"Authorization": "Own my-own-word"}}, "Own my-own-word"),
    ],
)
async def test_a_user_in_the_url_is_sent_unless_there_is_a_key(
    upstream: FakeUpstream, fields: dict[str, Any], expected: str
) -> None:
    url = upstream.base_url.replace("://", "://me:p%40ss%2Fword@")
    async with chat(spec(upstream, "status-401", base_url=url, **fields)) as backend:
        message = failed(await events_of(backend, request())).message
    seen = upstream.requests[0].headers
    assert seen["authorization"] == expected
    assert "@" not in seen["host"]
    assert expected.partition(" ")[2] not in message


async def test_a_base_url_keeps_its_query(upstream: FakeUpstream) -> None:
    url = f"{upstream.base_url}?api-version=1"
    async with chat(spec(upstream, "words-1", base_url=url)) as backend:
        assert text_in(await events_of(backend, request())) == words(1)


async def test_one_batch_holds_all_that_one_read_brought(upstream: FakeUpstream) -> None:
    async with chat(spec(upstream, "words-500")) as backend:
        batches = await batches_of(backend, request())
    assert sum(map(len, batches)) == 501
    assert len(batches) < 50


async def test_an_answer_that_ends_in_the_read_of_its_last_words_is_one_batch(
    upstream: FakeUpstream,
) -> None:
    async with chat(spec(upstream, "words-3")) as backend:
        (batch,) = await batches_of(backend, request())
    assert text_in([*batch]) == words(3) and finished([*batch])
