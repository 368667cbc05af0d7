"""LangChain's ChatOpenAI on the Responses API, which it reads with types of its own."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage

from tests.clients.test_langchain import Weather, chat, look_up
from tests.fakes.system import System
from tests.fakes.upstream import words


def responses(system: System, model: str, **more: Any) -> Any:
    return chat(system, model, use_responses_api=True, **more)


def test_invoke_answers_with_usage(system: System) -> None:
    reply = responses(system, "words-3", temperature=0.5).invoke("Say hello please")
    assert reply.text == words(3)
    assert reply.response_metadata["status"] == "completed"
    assert (reply.usage_metadata["input_tokens"], reply.usage_metadata["output_tokens"]) == (3, 3)


def test_a_stream_adds_up_and_ends_with_usage(system: System) -> None:
    chunks = list(responses(system, "slow-20x50").stream("Say hello please"))
    whole: AIMessageChunk = sum(chunks[1:], chunks[0])
    assert whole.text == words(20)
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 20


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_go_back(system: System, stream: bool) -> None:
    model = responses(system, "tools").bind_tools([look_up])
    messages: list[BaseMessage] = [HumanMessage("Where is it?")]

    def ask() -> Any:
        if not stream:
            return model.invoke(messages)
        chunks = list(model.stream(messages))
        return sum(chunks[1:], chunks[0])

    called = ask()
    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("look_up", {"city": "text"})
    messages += [called, ToolMessage(look_up.invoke(call["args"]), tool_call_id=call["id"])]
    assert ask().text == "The tool said: text is far"


def test_reasoning_goes_back_with_the_history(system: System) -> None:
    model = responses(system, "reasoning")
    first = model.invoke("Think")
    assert first.text == "Done thinking"
    assert model.invoke([HumanMessage("Think"), first, HumanMessage("More")]).text


def test_structured_output_is_the_callers_own_type(system: System) -> None:
    model = responses(system, "json").with_structured_output(Weather, method="json_schema")
    assert model.invoke("How is it?") == Weather(city="text", degrees=1.5, rain=True)


def test_a_response_is_followed_by_its_id(system: System) -> None:
    first = responses(system, "words-3").invoke("one")
    previous = first.response_metadata["id"]
    asked = responses(system, "echo-request").invoke("two", previous_response_id=previous)
    assert [each["content"] for each in json.loads(asked.text)["messages"]] == [
        "one",
        words(3),
        "two",
    ]
