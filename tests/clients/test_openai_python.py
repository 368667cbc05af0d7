"""openai-python, which refuses what deviates from OpenAI's types: models, texts and streams."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types import chat

from tests.clients.conftest import API_KEY
from tests.fakes.system import System
from tests.fakes.upstream import words

HELLO: list[chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello please"}]


def echoed(client: openai.OpenAI, model: str = "echo-request", **request: Any) -> dict[str, Any]:
    """The body that reached the upstream."""
    reply = client.chat.completions.create(model=model, **request)
    assert reply.choices[0].message.content is not None
    body: dict[str, Any] = json.loads(reply.choices[0].message.content)
    return body


def joined(chunks: list[chat.ChatCompletionChunk]) -> str:
    deltas = (chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    return "".join(delta for delta in deltas if delta)


def test_models_are_listed_with_all_that_the_type_asks_for(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {"words-3", "team/writer:v1", "repeater"} <= models.keys()
    assert models["words-3"].object == "model"


@pytest.mark.parametrize("name", ["words-3", "team/writer:v1"])
def test_a_model_is_found_by_its_id_and_answers(client: openai.OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == name
    reply = client.chat.completions.create(model=name, messages=HELLO)
    assert (reply.model, reply.choices[0].message.content) == (name, words(3))


def test_an_answer_is_whole_with_usage_and_a_request_id(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="words-500", messages=HELLO)
    assert reply.choices[0].message.content == words(500)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    counts = (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens)
    assert counts == (3, 500, 503)
    assert reply._request_id is not None
    assert reply.id.startswith("chatcmpl-")


@pytest.mark.parametrize("model", ["words-500", "split-20", "eager", "slow-20x50", "whole"])
def test_a_stream_adds_up_to_the_answer(client: openai.OpenAI, model: str) -> None:
    expected = {"words-500": words(500), "eager": "all at once", "whole": words(3)}
    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        assert stream.response.headers["x-request-id"]
        chunks = list(stream)
    assert joined(chunks) == expected.get(model, words(20))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [c.choices[0].delta.role for c in chunks if c.choices[0].delta.role] == ["assistant"]
    ends = [chunk.choices[0].finish_reason for chunk in chunks]
    assert ends == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_the_stream_helper_ends_with_the_final_completion(client: openai.OpenAI) -> None:
    options: chat.ChatCompletionStreamOptionsParam = {"include_usage": True}
    with client.chat.completions.stream(
        model="slow-20x50", messages=HELLO, stream_options=options
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == words(20)
    assert final.choices[0].finish_reason == "stop"
    assert final.usage is not None
    assert final.usage.completion_tokens == 20


@pytest.mark.parametrize("model", ["words-3", "joint-usage", "no-usage"])
def test_usage_is_the_last_chunk_when_asked_for(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    *others, last = chunks
    assert [chunk.usage for chunk in others] == [None] * len(others)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


def test_reasoning_and_its_tokens_arrive_in_both_modes(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="reasoning", messages=HELLO)
    assert reply.choices[0].message.content == "Done thinking"
    assert reply.choices[0].message.reasoning_content == "Let me think."  # type: ignore[attr-defined]
    chunks = list(
        client.chat.completions.create(
            model="reasoning", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "Let me think."
    assert joined(chunks) == "Done thinking"
    for usage in (reply.usage, chunks[-1].usage):
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 1
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 2


def test_log_probabilities_arrive_in_both_modes(client: openai.OpenAI) -> None:
    wanted: Any = {"model": "words-3", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
    reply = client.chat.completions.create(**wanted)
    assert reply.choices[0].logprobs is not None
    rows = reply.choices[0].logprobs.content or []
    chunks = list(client.chat.completions.create(**wanted, stream=True))
    probabilities = [chunk.choices[0].logprobs for chunk in chunks]
    streamed = [row for each in probabilities if each for row in each.content or ()]
    assert [row.token for row in rows] == ["w0 ", "w1 ", "w2 "]
    assert streamed == rows


def test_refusals_arrive_in_both_modes(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="refusal", messages=HELLO)
    assert reply.choices[0].message.refusal == "I will not."
    chunks = client.chat.completions.create(model="refusal", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.refusal or "" for chunk in chunks) == "I will not."


@pytest.mark.parametrize(
    ("model", "reason"), [("length", "length"), ("filter", "content_filter"), ("words-3", "stop")]
)
def test_finish_reasons_are_true(client: openai.OpenAI, model: str, reason: str) -> None:
    reply = client.chat.completions.create(model=model, messages=HELLO)
    assert reply.choices[0].finish_reason == reason
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert chunks[-1].choices[0].finish_reason == reason


def test_a_token_limit_cuts_the_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="words-500", messages=HELLO, max_completion_tokens=7
    )
    assert reply.choices[0].message.content == words(7)
    assert reply.choices[0].finish_reason == "length"


def test_a_transcript_reaches_the_upstream_in_order_with_all_roles(client: openai.OpenAI) -> None:
    transcript: list[chat.ChatCompletionMessageParam] = [
        {"role": "system", "content": "You are a poet."},
        {"role": "developer", "content": "Rhyme."},
        {"role": "user", "content": "Über Bäume 🌳 \u2028 «naïve»", "name": "ana"},
        {"role": "assistant", "content": "Träume, 夢"},
        {"role": "user", "content": [{"type": "text", "text": "More"}]},
        {"role": "assistant", "content": "Räume"},
        {"role": "system", "content": "Now stop."},
        {"role": "user", "content": "Stop?\u0000\n\t\"'\\"},
    ]
    sent = echoed(client, messages=transcript)["messages"]
    assert [message["role"] for message in sent] == [message["role"] for message in transcript]
    assert sent[2] == transcript[2]
    assert sent[3]["content"] == "Träume, 夢"
    assert sent[4]["content"] == "More"
    assert sent[-1] == transcript[-1]


def test_the_agents_prompt_stands_before_the_callers(client: openai.OpenAI) -> None:
    mine: Any = [{"role": "system", "content": "Shout."}, *HELLO]
    sent = echoed(client, "prompted", messages=mine)["messages"]
    assert [message["content"] for message in sent] == [
        "Be brief.",
        "Shout.",
        "Say hello please",
    ]


def test_a_long_transcript_with_unicode_arrives_unchanged(client: openai.OpenAI) -> None:
    long = "Zeile mit Ümläuten und 漢字 🙂\n" * 6000
    assert len(long.encode()) > 200_000
    sent = echoed(client, messages=[{"role": "user", "content": long}])
    assert sent["messages"][0]["content"] == long


def test_images_pass_through(client: openai.OpenAI) -> None:
    pixel = "data:image/png;base64," + "iVBORw0KGgo" * 20
    parts: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": pixel, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
    ]
    sent = echoed(client, messages=[{"role": "user", "content": parts}])
    assert sent["messages"][0]["content"] == parts


def test_leaving_a_stream_early_closes_the_upstreams_socket(
    client: openai.OpenAI, system: System
) -> None:
    with client.chat.completions.create(
        model="slow-1000x20", messages=HELLO, stream=True
    ) as stream:
        next(iter(stream))
    system.upstream.until(lambda upstream: len(upstream.closed()) == 1)


def test_leaving_a_whole_answer_early_closes_the_upstreams_socket(
    client: openai.OpenAI, system: System
) -> None:
    patient = client.with_options(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        patient.chat.completions.create(model="slow-1000x20", messages=HELLO)
    system.upstream.until(lambda upstream: len(upstream.closed()) == 1)


async def test_fifty_streams_at_once_each_get_their_own_answer(system: System) -> None:
    async with openai.AsyncOpenAI(
        base_url=system.base_url(), api_key=API_KEY, max_retries=0, _strict_response_validation=True
    ) as client:

        async def ask(number: int) -> None:
            said = f"number {number} says " + "so " * number
            question: Any = [{"role": "user", "content": said}]
            stream = await client.chat.completions.create(
                model="echo-request" if number % 2 else "repeater", messages=question, stream=True
            )
            answer = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert said.strip() in answer
            assert "number" not in answer.replace(f"number {number} ", "")

        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(ask(number))


async def test_the_async_client_answers_whole_and_by_the_stream_helper(system: System) -> None:
    async with openai.AsyncOpenAI(
        base_url=system.base_url(), api_key=API_KEY, max_retries=0, _strict_response_validation=True
    ) as client:
        reply = await client.chat.completions.create(model="words-3", messages=HELLO)
        assert reply.choices[0].message.content == words(3)
        async with client.chat.completions.stream(model="words-3", messages=HELLO) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == words(3)
        assert [model.id async for model in client.models.list()]
