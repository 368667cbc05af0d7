"""openai-python's asynchronous client on the Responses API: helpers, background, resumption.

Every event is checked against OpenAI's types, as all replies are.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types import responses

from tests.clients.conftest import ABLE, API_KEY
from tests.clients.test_responses_python import HELLO, NEWS, SHELL, WEATHER
from tests.fakes.system import System
from tests.fakes.upstream import words
from tests.fakes.upstream_plan import plan

STREAMED = ["words-3", "split-20", "reasoning", "refusal", "length", "filter", "error-chunk"]


class Weather(pydantic.BaseModel):
    """The weather of a city."""

    city: str


@pytest.fixture
async def client(system: System) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=system.base_url(),
        api_key=API_KEY,
        max_retries=0,
        timeout=60,
        _strict_response_validation=True,
    ) as client:
        yield client


async def ended(client: openai.AsyncOpenAI, response: str) -> responses.Response:
    """As its users do: asked again and again."""
    async with asyncio.timeout(60):
        while True:
            found = await client.responses.retrieve(response)
            if found.status not in ("queued", "in_progress"):
                return found


@pytest.mark.parametrize("model", STREAMED)
async def test_the_helper_and_the_plain_stream_tell_the_same(
    client: openai.AsyncOpenAI, model: str
) -> None:
    plain = [
        event.type
        async for event in await client.responses.create(model=model, input=HELLO, stream=True)
    ]
    async with client.responses.stream(model=model, input=HELLO) as stream:
        helped = [event.type async for event in stream]
    assert plain == helped
    assert plain[:2] == ["response.created", "response.in_progress"]


async def test_the_helper_follows_several_calls_and_parses_them(client: openai.AsyncOpenAI) -> None:
    tools: Any = [openai.pydantic_function_tool(Weather, name="weather"), NEWS]
    tools[0] = {"type": "function", **tools[0]["function"]}
    wanted: Any = {"model": "tools-parallel", "input": HELLO, "tools": tools}
    async with client.responses.stream(**wanted) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    whole = await client.responses.parse(**wanted)
    for response in (final, whole):
        calls = [item for item in response.output if item.type == "function_call"]
        assert [call.parsed_arguments for call in calls] == [{"city": "text"}, {"city": "text"}]


@pytest.mark.parametrize("model", ["plan", "plan-tasks"])
async def test_a_loop_of_calls_follows_its_responses(
    client: openai.AsyncOpenAI, model: str
) -> None:
    steps = (
        {"say": "I look. ", "calls": [("weather", {"city": "x"}), ("shell", "ls -l")]},
        {"say": "Again. ", "calls": [("weather", {"city": "y"})]},
        {"say": "Done."},
    )
    sent: Any = plan(*steps)
    told, previous = [], None
    for _ in steps:
        response = await client.responses.create(
            model=model, input=sent, tools=[WEATHER, SHELL], previous_response_id=previous
        )
        told.append([item.type for item in response.output])
        previous = response.id
        sent = [
            {"type": f"{item.type}_output", "call_id": item.call_id, "output": "ok"}
            for item in response.output
            if item.type in ("function_call", "custom_tool_call")
        ]
    assert told == [
        ["message", "function_call", "custom_tool_call"],
        ["message", "function_call"],
        ["message"],
    ]


@pytest.mark.parametrize("model", ABLE)
async def test_parse_gives_the_callers_own_type(client: openai.AsyncOpenAI, model: str) -> None:
    parsed = await client.responses.parse(model=model, input=HELLO, text_format=Weather)
    async with client.responses.stream(model=model, input=HELLO, text_format=Weather) as stream:
        streamed = await stream.get_final_response()
    assert parsed.output_parsed == streamed.output_parsed == Weather(city="text")


async def test_a_response_in_the_background_is_polled(client: openai.AsyncOpenAI) -> None:
    begun = await client.responses.create(model="slow-20x50", input=HELLO, background=True)
    assert (begun.status, begun.output, begun.usage) == ("queued", [], None)
    found = await ended(client, begun.id)
    assert (found.status, found.output_text, found.background) == ("completed", words(20), True)
    assert found.usage is not None and found.usage.output_tokens == 20


async def test_a_response_in_the_background_that_fails_is_found_failed(
    client: openai.AsyncOpenAI,
) -> None:
    begun = await client.responses.create(model="status-400", input=HELLO, background=True)
    found = await ended(client, begun.id)
    assert found.status == "failed" and found.error is not None
    assert found.error.code == "invalid_prompt" and "as asked" in found.error.message


async def test_a_response_is_cancelled_while_it_is_read(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(
        model="slow-1000x20", input=HELLO, background=True, stream=True
    )
    types: list[str] = []
    async for event in stream:
        types.append(event.type)
        if event.type == "response.output_text.delta" and types.count(event.type) == 1:
            [response] = {event.item_id.split("_")[1]}
            cancelled = await client.responses.cancel(f"resp_{response}")
            assert cancelled.status == "cancelled"
    assert types[-1] == "response.failed"
    found = await client.responses.retrieve(f"resp_{response}")
    assert found.status == "cancelled"


async def test_a_stream_is_resumed_where_it_was_left(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(
        model="slow-20x50", input=HELLO, background=True, stream=True
    )
    seen: list[responses.ResponseStreamEvent] = []
    async for event in stream:
        seen.append(event)
        if len(seen) == 8:
            break
    await stream.close()
    first = seen[0]
    assert first.type == "response.created"
    rest = await client.responses.retrieve(first.response.id, stream=True, starting_after=7)
    seen += [event async for event in rest]
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    deltas = [event.delta for event in seen if event.type == "response.output_text.delta"]
    assert "".join(deltas) == words(20)
    async with client.responses.stream(response_id=first.response.id, starting_after=7) as helped:
        again = [event.sequence_number async for event in helped]
        assert again == list(range(8, len(seen)))
        assert (await helped.get_final_response()).output_text == words(20)


async def test_raw_replies_tell_their_request_id(client: openai.AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(model="words-3", input=HELLO)
    assert raw.request_id == raw.parse()._request_id is not None
    streaming = client.responses.with_streaming_response.create(
        model="words-3", input=HELLO, stream=True
    )
    async with streaming as reply:
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.request_id
        lines = [line async for line in reply.iter_lines()]
    assert {line.partition(":")[0] for line in lines} <= {"event", "data", ""}
