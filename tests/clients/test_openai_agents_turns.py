"""Runs of the OpenAI Agents SDK over several turns and agents, asked for through either API."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import agents
import openai
import pytest
from openai.types.shared import Reasoning

from tests.clients.conftest import API_KEY
from tests.clients.test_openai_agents import APIS, Weather, get_news, get_weather
from tests.fakes.system import System
from tests.fakes.upstream import words
from tests.fakes.upstream_plan import plan

PLANS = ["plan", "plan-tasks"]
"""An agent of each lane: what is asked of them is the same."""

Models = Callable[[str, str], agents.Model]
"""A model of the API and the agent that are named."""

LOOK = ("get_weather", {"city": "Oslo"})
HANDED_ON = plan(
    {"say": "I pass it on. ", "calls": [("transfer_to_expert", {})]},
    {"say": "I look. ", "calls": [LOOK, ("get_news", {"topic": "snow"})]},
    {"say": "Sunny."},
)


@pytest.fixture(autouse=True)
def untraced() -> None:
    agents.set_tracing_disabled(True)


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


@pytest.fixture
async def model_of(client: openai.AsyncOpenAI) -> AsyncIterator[Models]:
    made: list[agents.Model] = []

    def make(api: str, name: str) -> agents.Model:
        made.append(APIS[api](name, client))
        return made[-1]

    yield make
    for model in made:
        await model.close()


@pytest.fixture(params=APIS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PLANS)
def model(request: pytest.FixtureRequest, api: str, model_of: Models) -> agents.Model:
    return model_of(api, request.param)


async def run(helper: agents.Agent[Any], said: Any, *, streamed: bool, **more: Any) -> Any:
    """The result of a run, whole or streamed to its end."""
    async with asyncio.timeout(60):
        if not streamed:
            return await agents.Runner.run(helper, said, **more)
        result = agents.Runner.run_streamed(helper, said, **more)
        async for _ in result.stream_events():
            pass
        return result


def triage(model: agents.Model) -> agents.Agent[Any]:
    expert = agents.Agent(
        name="expert", instructions="You know.", model=model, tools=[get_weather, get_news]
    )
    return agents.Agent(name="triage", instructions="Pass on.", model=model, handoffs=[expert])


def kinds(result: Any) -> list[str]:
    return [item.type.removesuffix("_item") for item in result.new_items]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_handoff_and_several_calls_end_in_an_answer(
    model: agents.Model, streamed: bool
) -> None:
    result = await run(triage(model), HANDED_ON, streamed=streamed)
    assert kinds(result) == [
        *("message_output", "handoff_call", "handoff_output"),
        *("message_output", "tool_call", "tool_call"),
        *("tool_call_output", "tool_call_output", "message_output"),
    ]
    outputs = [item.output for item in result.new_items if item.type == "tool_call_output_item"]
    assert outputs == ["Oslo is sunny", "nothing about snow"]
    assert (result.final_output, result.last_agent.name) == ("Sunny.", "expert")
    assert result.context_wrapper.usage.requests == 3
    more = [*result.to_input_list(), {"role": "user", "content": "And now?"}]
    second = await run(result.last_agent, more, streamed=streamed)
    assert second.final_output == "And now?"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_session_remembers_the_turns(model: agents.Model, streamed: bool) -> None:
    session = agents.SQLiteSession("turns")
    helper = agents.Agent(name="helper", model=model, tools=[get_weather])
    steps = ({"say": "I look. ", "calls": [LOOK]}, {"say": "Sunny."}, {"say": "Still."})
    first = await run(helper, plan(*steps), streamed=streamed, session=session)
    second = await run(helper, "And now?", streamed=streamed, session=session)
    assert (first.final_output, second.final_output) == ("Sunny.", "Still.")
    session.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_output_type_comes_after_a_call(model: agents.Model, streamed: bool) -> None:
    told = json.dumps({"city": "Oslo", "degrees": 1.5})
    helper = agents.Agent(name="helper", model=model, tools=[get_weather], output_type=Weather)
    result = await run(helper, plan({"calls": [LOOK]}, {"say": told}), streamed=streamed)
    assert result.final_output == Weather(city="Oslo", degrees=1.5)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", PLANS)
async def test_a_chain_of_responses_goes_through_a_handoff(
    client: openai.AsyncOpenAI, name: str, streamed: bool
) -> None:
    helper = triage(agents.OpenAIResponsesModel(name, client))
    first = await run(helper, HANDED_ON, streamed=streamed, auto_previous_response_id=True)
    assert first.final_output == "Sunny."
    second = await run(
        first.last_agent, "And now?", streamed=streamed, previous_response_id=first.last_response_id
    )
    assert second.final_output == "And now?"


@pytest.mark.parametrize("streamed", [False, True])
async def test_calls_of_the_agents_own_tools_are_part_of_the_history(
    client: openai.AsyncOpenAI, streamed: bool
) -> None:
    helper = agents.Agent(name="helper", model=agents.OpenAIResponsesModel("plan-tasks", client))
    steps = plan({"say": "I plan. ", "calls": [("read_tasks", {})]}, {"say": "Done."})
    first = await run(helper, steps, streamed=streamed)
    assert kinds(first) == ["message_output", "tool_call", "message_output"]
    more = [*first.to_input_list(), {"role": "user", "content": "And now?"}]
    assert (await run(helper, more, streamed=streamed)).final_output == "And now?"


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning_is_kept_and_sent_back(client: openai.AsyncOpenAI, streamed: bool) -> None:
    helper = agents.Agent(name="helper", model=agents.OpenAIResponsesModel("reasoning", client))
    first = await run(helper, "Hello", streamed=streamed)
    assert kinds(first) == ["reasoning", "message_output"]
    more = [*first.to_input_list(), {"role": "user", "content": "And now?"}]
    assert (await run(helper, more, streamed=streamed)).final_output == "Done thinking"


async def test_a_response_in_the_background_is_streamed_to_its_end(
    client: openai.AsyncOpenAI,
) -> None:
    model = agents.OpenAIResponsesModel("slow-20x50", client)
    settings = agents.ModelSettings(extra_args={"background": True})
    helper = agents.Agent(name="helper", model=model, model_settings=settings)
    result = await run(helper, "Hello", streamed=True)
    assert result.final_output == words(20)
    found = await client.responses.retrieve(result.last_response_id)
    assert found.background and found.status == "completed"


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_settings_of_a_model_reach_it(api: str, streamed: bool, model_of: Models) -> None:
    responses = api != "chat"
    settings = agents.ModelSettings(
        temperature=0.5,
        top_p=0.9,
        max_tokens=100,
        verbosity="low",
        reasoning=Reasoning(effort="low", summary="auto" if responses else None),
        metadata={"a": "b"},
        store=responses,
        prompt_cache_retention="24h",
        top_logprobs=2,
        truncation="disabled",
        include_usage=True,
        response_include=["reasoning.encrypted_content"],
        extra_headers={"X-Unknown": "1"},
        extra_body={"unknown_field": 1},
    )
    helper = agents.Agent(
        name="helper",
        instructions="Be brief.",
        model=model_of(api, "echo-request"),
        model_settings=settings,
    )
    result = await run(helper, "Hello", streamed=streamed)
    sent = json.loads(result.final_output)
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", "Hello"]
    wanted = {
        "temperature": 0.5,
        "top_p": 0.9,
        "verbosity": "low",
        "reasoning_effort": "low",
        "top_logprobs": 2,
    }
    assert {name: sent.get(name) for name in wanted} == wanted
    assert 100 in (sent.get("max_completion_tokens"), sent.get("max_tokens"))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", ["responses", "websocket"])
async def test_a_conversation_is_the_history_of_runs(
    client: openai.AsyncOpenAI, model: agents.Model, streamed: bool
) -> None:
    made = (await client.conversations.create()).id
    helper = agents.Agent(name="helper", tools=[get_weather], model=model)
    steps = plan({"calls": [LOOK]}, {"say": "Sunny."})
    first = await run(helper, steps, streamed=streamed, conversation_id=made)
    assert first.final_output == "Sunny."
    second = await run(helper, "And now?", streamed=streamed, conversation_id=made)
    assert second.final_output == "And now?"  # what was last said
    items = [item.type async for item in client.conversations.items.list(made, order="asc")]
    assert items == [
        *("message", "function_call", "function_call_output", "message"),
        *("message", "message"),
    ]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_model_that_fails_raises(api: str, streamed: bool, model_of: Models) -> None:
    for name, error in (("nobody", openai.NotFoundError), ("status-429", openai.RateLimitError)):
        helper = agents.Agent(name="helper", model=model_of(api, name))
        with pytest.raises(error):
            await run(helper, "Hello", streamed=streamed)


async def test_a_stream_that_breaks_raises(api: str, model_of: Models) -> None:
    helper = agents.Agent(name="helper", model=model_of(api, "error-chunk"))
    with pytest.raises((openai.APIError, agents.AgentsException), match="The model crashed"):
        await run(helper, "Hello", streamed=True)
