"""The OpenAI Agents SDK with its tools run here, its models asked through either API."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import agents
import openai
import pydantic
import pytest
from openai.types.responses import ResponseTextDeltaEvent

from tests.clients.conftest import ABLE, API_KEY
from tests.fakes.system import System

APIS = {
    "chat": agents.OpenAIChatCompletionsModel,
    "responses": agents.OpenAIResponsesModel,
    "websocket": agents.OpenAIResponsesWSModel,
}


class Weather(pydantic.BaseModel):
    city: str
    degrees: float


@agents.function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny"


@agents.function_tool
def get_news(topic: str) -> str:
    """What is new."""
    return f"nothing about {topic}"


@pytest.fixture(autouse=True)
def untraced() -> None:
    agents.set_tracing_disabled(True)


@pytest.fixture(params=ABLE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=APIS)
async def model(
    request: pytest.FixtureRequest, name: str, system: System
) -> AsyncIterator[agents.Model]:
    async with openai.AsyncOpenAI(
        base_url=system.base_url(), api_key=API_KEY, max_retries=0, timeout=60
    ) as client:
        model = APIS[request.param](name, client)
        yield model
        await model.close()


def agent(model: agents.Model, **more: Any) -> agents.Agent[Any]:
    return agents.Agent(name="helper", instructions="Be brief.", model=model, **more)


async def test_a_run_answers(model: agents.Model) -> None:
    async with asyncio.timeout(60):
        result = await agents.Runner.run(agent(model), "Hello")
    assert result.final_output == "w0 w1 w2 "
    assert result.context_wrapper.usage.output_tokens == 3


async def test_a_run_calls_its_functions_and_goes_on(model: agents.Model) -> None:
    helper = agent(model, tools=[get_news, get_weather])
    async with asyncio.timeout(60):
        result = await agents.Runner.run(helper, "What is the weather in 'Oslo'?")
    called = [item for item in result.new_items if item.type == "tool_call_item"]
    assert [item.raw_item.name for item in called] == ["get_weather"]
    assert result.final_output == "The tool said: Oslo is sunny"
    assert result.context_wrapper.usage.requests == 2


async def test_a_streamed_run_tells_its_words_and_its_calls(model: agents.Model) -> None:
    helper = agent(model, tools=[get_news, get_weather])
    text, items = "", []
    async with asyncio.timeout(60):
        result = agents.Runner.run_streamed(helper, "Is the weather in 'Oslo' good?")
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                if isinstance(event.data, ResponseTextDeltaEvent):
                    text += event.data.delta
            elif event.type == "run_item_stream_event":
                items.append(event.name)
    assert text == result.final_output == "The tool said: Oslo is sunny"
    assert items == ["tool_called", "tool_output", "message_output_created"]


async def test_a_history_is_taken_up_again(model: agents.Model) -> None:
    helper = agent(model, tools=[get_weather])
    async with asyncio.timeout(60):
        first = await agents.Runner.run(helper, "The weather in 'Oslo'?")
        more = [*first.to_input_list(), {"role": "user", "content": "Thank you"}]
        second = await agents.Runner.run(helper, more)
    assert second.final_output == "w0 w1 w2 "


async def test_an_output_type_is_what_the_run_gives(model: agents.Model) -> None:
    async with asyncio.timeout(60):
        result = await agents.Runner.run(agent(model, output_type=Weather), "Hello")
    assert result.final_output == Weather(city="text", degrees=1.5)


@pytest.mark.parametrize("choice", ["required", "get_news"])
async def test_a_tool_that_has_to_be_called_is(model: agents.Model, choice: str) -> None:
    settings = agents.ModelSettings(tool_choice=choice, parallel_tool_calls=False)
    helper = agent(
        model,
        tools=[get_weather, get_news],
        model_settings=settings,
        tool_use_behavior="stop_on_first_tool",
    )
    async with asyncio.timeout(60):
        result = await agents.Runner.run(helper, "Hello 'there'")
    assert result.final_output == "nothing about there"


async def test_a_chain_of_responses_carries_the_calls(name: str, system: System) -> None:
    async with openai.AsyncOpenAI(base_url=system.base_url(), api_key=API_KEY) as client:
        helper = agent(agents.OpenAIResponsesModel(name, client), tools=[get_weather])
        async with asyncio.timeout(60):
            first = await agents.Runner.run(
                helper, "The weather in 'Rome'?", auto_previous_response_id=True
            )
            second = await agents.Runner.run(
                helper, "Thank you", previous_response_id=first.last_response_id
            )
    assert first.final_output == "The tool said: Rome is sunny"
    assert second.final_output == "w0 w1 w2 "


async def test_a_session_is_a_conversation(name: str, system: System) -> None:
    async with openai.AsyncOpenAI(
        base_url=system.base_url(), api_key=API_KEY, max_retries=0, timeout=60
    ) as client:
        session = agents.OpenAIConversationsSession(openai_client=client)
        model = agents.OpenAIResponsesModel(name, client)
        helper = agent(model, tools=[get_weather])
        await agents.Runner.run(helper, "hi", session=session)
        before = await session.get_items()
        await agents.Runner.run(helper, "more", session=session)
        items: Any = await session.get_items()
        assert len(before) < len(items) and items[: len(before)] == before
        texts = [item["content"][0]["text"] for item in items if item.get("role") == "user"]
        assert texts == ["hi", "more"]
        assert await session.pop_item() == items[-1]
        assert await session.get_items(limit=2) == items[-3:-1]
        await session.add_items([{"role": "user", "content": str(n)} for n in range(45)])
        assert len(await session.get_items()) == len(items) - 1 + 45
        conversation = session.session_id
        await session.clear_session()
        with pytest.raises(openai.NotFoundError):
            await client.conversations.retrieve(conversation)
