"""openai-python's client of the WebSocket of the Responses API."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.lib.responses_websocket import (
    AsyncResponsesWebSocketSession,
    ResponsesWebSocketAccumulator,
    ResponsesWebSocketError,
    ResponsesWebSocketLimits,
    ResponsesWebSocketSession,
)
from openai.resources.responses.responses import AsyncResponsesConnection
from openai.types.responses import FunctionToolParam, Response
from websockets.exceptions import InvalidStatus

from tests.clients.conftest import API_KEY
from tests.fakes.system import System
from tests.fakes.upstream import words

LIMITS = ResponsesWebSocketLimits(
    max_lanes=8,
    max_events_per_lane=4096,
    max_events=8192,
    max_bytes_per_lane=1 << 24,
    max_bytes=1 << 25,
)
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture
async def connection(system: System) -> AsyncIterator[AsyncResponsesConnection]:
    async with (
        openai.AsyncOpenAI(base_url=system.base_url(), api_key=API_KEY) as client,
        client.responses.connect(websocket_connection_options={"max_size": None}) as connection,
    ):
        yield connection


async def ended(connection: AsyncResponsesConnection) -> Response:
    async for event in connection:
        if event.type in ("response.completed", "response.incomplete", "response.failed"):
            return event.response
        assert event.type != "error", event.to_json()
    raise AssertionError("the connection ended first")


async def test_a_response_is_streamed_to_its_end(connection: AsyncResponsesConnection) -> None:
    accumulator = ResponsesWebSocketAccumulator()
    await connection.response.create(model="slow-20x50", input="go", stream_id="main")
    deltas, numbers = "", []
    async for event in connection:
        accumulator.add_event(event)
        numbers.append(event.sequence_number)
        if event.type == "response.output_text.delta":
            deltas += event.delta
        elif event.type == "response.completed":
            break
    assert numbers == list(range(len(numbers)))
    final = accumulator.get_final_response()
    assert accumulator.snapshot().output_text == deltas == final.output_text == words(20)
    assert final.usage is not None
    assert final.usage.output_tokens == 20


async def test_tools_of_the_input_are_there_for_what_follows_without_being_stored(
    connection: AsyncResponsesConnection,
) -> None:
    space = {"type": "namespace", "name": "sky", "description": "", "tools": [WEATHER]}
    given = {"type": "additional_tools", "role": "developer", "tools": [space]}
    common: Any = {"model": "tools", "store": False}
    await connection.response.create(input=[given, {"role": "user", "content": "Hi"}], **common)
    first = await ended(connection)
    assert first.output[0].type == "function_call"
    common = {"model": "echo-request", "store": False, "previous_response_id": first.id}
    result: Any = {
        "type": "function_call_output",
        "call_id": first.output[0].call_id,
        "output": "sunny",
    }
    await connection.response.create(input=[result], **common)
    sent = json.loads((await ended(connection)).output_text)
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["sky__weather"]


async def test_a_tool_is_called_and_its_result_goes_back_without_being_stored(
    connection: AsyncResponsesConnection,
) -> None:
    common: Any = {"model": "tools", "store": False, "tools": [WEATHER], "stream_id": "main"}
    await connection.response.create(input="How is it in Paris?", **common)
    first = await ended(connection)
    (call,) = [item for item in first.output if item.type == "function_call"]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    await connection.response.create(input=[result], previous_response_id=first.id, **common)
    assert "sunny" in (await ended(connection)).output_text


async def test_a_warm_up_brings_its_input_into_the_next_turn(
    connection: AsyncResponsesConnection,
) -> None:
    common: Any = {"model": "echo-request", "store": False}
    await connection.response.create(input="remember this", generate=False, **common)
    warm = await ended(connection)
    assert warm.output == []
    await connection.response.create(input="and this", previous_response_id=warm.id, **common)
    sent = json.loads((await ended(connection)).output_text)
    assert [message["content"] for message in sent["messages"]] == ["remember this", "and this"]


async def test_lanes_of_a_session_run_in_parallel_and_fork(
    connection: AsyncResponsesConnection,
) -> None:
    async with AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session:
        lanes = [session.lane(name) for name in ("planner", "research")]
        for lane in lanes:
            await lane.send(
                {"type": "response.create", "model": "words-3", "input": "x", "store": False}
            )
        planned, _ = await asyncio.gather(*(lane.get_final_response() for lane in lanes))
        critic = session.lane("critic")
        await critic.send(
            {
                "type": "response.create",
                "model": "echo-request",
                "input": "gaps?",
                "store": False,
                "previous_response_id": planned.id,
            }
        )
        sent = json.loads((await critic.get_final_response()).output_text)
        said = [message["content"] for message in sent["messages"]]
        assert said == ["x", words(3), "gaps?"]
        with pytest.raises(ResponsesWebSocketError) as refused:
            await lanes[0].send({"type": "response.create", "model": "nobody", "input": "x"})
            await lanes[0].get_final_response()
        assert refused.value.event.error.code == "model_not_found"


async def test_steering_fails_with_the_input_given_back(
    connection: AsyncResponsesConnection,
) -> None:
    await connection.response.create(model="slow-20x50", input="go")
    steered = False
    async for event in connection:
        if event.type == "response.created":
            await connection.response.steer(input="left", previous_response_id=event.response.id)
        elif event.type == "response.steer.failed":
            steered = True
            assert (event.error.code, event.steer.input) == ("steering_not_supported", "left")
        elif event.type == "response.completed":
            break
    assert steered


def test_the_client_that_blocks_works_too(system: System) -> None:
    with (
        openai.OpenAI(base_url=system.base_url(), api_key=API_KEY) as client,
        client.responses.connect() as connection,
        ResponsesWebSocketSession(connection, limits=LIMITS) as session,
    ):
        session.default.send({"type": "response.create", "model": "words-3", "input": "x"})
        response = session.default.get_final_response(timeout=60)
        assert client.responses.retrieve(response.id).output_text == words(3)


async def test_a_wrong_key_is_refused_in_the_handshake(system: System) -> None:
    async with openai.AsyncOpenAI(base_url=system.base_url(), api_key="wrong") as client:
        with pytest.raises(InvalidStatus) as refused:
            await client.responses.connect().enter()
    reply = refused.value.response
    assert reply.status_code == 401
    assert json.loads(reply.body)["error"]["code"] == "invalid_api_key"
    assert reply.headers["x-request-id"].startswith("req_")
