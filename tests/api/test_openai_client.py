"""The official client, told to refuse whatever its own types do not allow."""

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from tests.api.fake_gateway import ScriptedChat, application
from tests.api.test_chat_renderer import ROW
from tests.api.uvicorn_server import Serving
from trunkline_shared.events import (
    Failed,
    Finished,
    ReasoningDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
)

CALLS: list[RunEvent] = [
    ReasoningDelta("hm"),
    TextDelta("I look.", [ROW]),
    ToolCallStart(0, "call_a", "f"),
    ToolArgsDelta(0, '{"a":'),
    ToolArgsDelta(0, "1}"),
    ToolCallStart(1, "call_b", "g"),
    ToolArgsDelta(1, "{}"),
    Finished("tool_calls", Usage(1, 2, 3, 4, 5), "m", None, "default", "fp"),
]


def client(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key="k", base_url=f"{url}/v1", max_retries=0, _strict_response_validation=True
    )


async def test_it_lists_and_gets_models() -> None:
    async with Serving(application()) as url, client(url) as api:
        assert [model.id async for model in api.models.list()] == ["echo", "team/coder:v2"]
        model = await api.models.retrieve("team/coder:v2")
        assert (model.id, model.owned_by, model.object) == ("team/coder:v2", "trunkline", "model")
        with pytest.raises(openai.NotFoundError) as caught:
            await api.models.retrieve("ehco")
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert caught.value.request_id


async def test_it_takes_a_completion_with_everything() -> None:
    async with Serving(application(ScriptedChat(CALLS))) as url, client(url) as api:
        reply = await api.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hi"}]
        )
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look."
    assert choice.message.tool_calls
    assert [call.id for call in choice.message.tool_calls] == ["call_a", "call_b"]
    assert reply.usage
    assert reply.usage.total_tokens == 3


async def test_its_stream_helper_puts_the_same_together() -> None:
    async with (
        Serving(application(ScriptedChat(CALLS))) as url,
        client(url) as api,
        api.chat.completions.stream(
            model="echo",
            messages=[{"role": "user", "content": "hi"}],
            stream_options={"include_usage": True},
        ) as stream,
    ):
        reply: ChatCompletion = await stream.get_final_completion()
    message = reply.choices[0].message
    assert message.content == "I look."
    assert [
        (call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or []
        if call.type == "function"
    ] == [("call_a", "f", '{"a":1}'), ("call_b", "g", "{}")]
    assert reply.usage
    assert reply.usage.completion_tokens_details
    assert reply.usage.completion_tokens_details.reasoning_tokens == 5


async def test_an_error_in_a_stream_is_raised_after_the_text() -> None:
    script: list[RunEvent] = [TextDelta("Hel"), Failed("worker_lost", "The worker died.")]
    async with Serving(application(ScriptedChat(script))) as url, client(url) as api:
        stream = await api.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        seen = []
        with pytest.raises(openai.APIError, match=r"The worker died\.") as caught:
            async for chunk in stream:
                seen.append(chunk.choices[0].delta.content)
    assert seen == ["Hel"]
    assert caught.value.code == "worker_lost"


async def test_a_bad_request_and_a_missing_key_are_the_errors_it_knows() -> None:
    async with Serving(application(api_key=("k",))) as url, client(url) as api:
        with pytest.raises(openai.BadRequestError) as bad:
            await api.chat.completions.create(model="echo", messages=[], temperature=3)
        assert bad.value.param == "messages"
        with pytest.raises(openai.AuthenticationError) as unknown:
            await api.with_options(api_key="other").models.list()
        assert unknown.value.code == "invalid_api_key"
