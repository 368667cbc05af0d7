"""LangChain's ChatOpenAI, which sends and reads a little differently than OpenAI's own client."""

from typing import Any

import openai
import pydantic
import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.clients.conftest import API_KEY
from tests.fakes.system import System
from tests.fakes.upstream import words


class Weather(pydantic.BaseModel):
    """The weather of a day."""

    city: str
    degrees: float
    rain: bool


@tool
def look_up(city: str) -> str:
    """Looks a city up."""
    return f"{city} is far"


def chat(system: System, model: str, **more: Any) -> ChatOpenAI:
    settings: dict[str, Any] = {"max_retries": 0, "timeout": 60, **more}
    return ChatOpenAI(model=model, base_url=system.base_url(), api_key=API_KEY, **settings)


def test_invoke_answers_with_usage_and_the_finish_reason(system: System) -> None:
    reply = chat(system, "words-3", temperature=0.5).invoke("Say hello please")
    assert reply.content == words(3)
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.response_metadata["model_name"] == "words-3"
    assert reply.usage_metadata is not None
    assert (reply.usage_metadata["input_tokens"], reply.usage_metadata["output_tokens"]) == (3, 3)


def test_usage_has_cached_and_reasoning_tokens(system: System) -> None:
    reply = chat(system, "reasoning").invoke("Say hello please")
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["input_token_details"]["cache_read"] == 1
    assert reply.usage_metadata["output_token_details"]["reasoning"] == 2


def test_a_stream_adds_up_and_ends_with_usage(system: System) -> None:
    chunks = list(chat(system, "slow-20x50", stream_usage=True).stream("Say hello please"))
    assert len(chunks) >= 20
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert whole.content == words(20)
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 20
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_the_async_ways_give_the_same(system: System) -> None:
    model = chat(system, "words-500")
    assert (await model.ainvoke("Hello")).content == words(500)
    assert "".join([str(chunk.content) async for chunk in model.astream("Hello")]) == words(500)
    replies = await model.abatch(["Hello"] * 5)
    assert [reply.content for reply in replies] == [words(500)] * 5


def test_messages_of_all_kinds_reach_the_upstream_in_order(system: System) -> None:
    messages: list[BaseMessage] = [
        SystemMessage("You are a poet."),
        HumanMessage([{"type": "text", "text": "Über"}, {"type": "text", "text": "Bäume"}]),
        AIMessage("Träume"),
        HumanMessage("More"),
    ]
    chat(system, "echo-request").invoke(messages)
    [request] = system.upstream.requests()
    sent = request["body"]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert sent[1]["content"] == [
        {"type": "text", "text": "Über"},
        {"type": "text", "text": "Bäume"},
    ]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_bound_tool_is_called_and_its_result_goes_back(system: System, streamed: bool) -> None:
    model = chat(system, "tools", streaming=streamed).bind_tools([look_up], strict=True)
    asked = model.invoke("Where is it?")
    [call] = asked.tool_calls
    assert (call["name"], call["args"]) == ("look_up", {"city": "text"})
    result = look_up.invoke(call)
    assert isinstance(result, ToolMessage)
    answer = model.invoke([HumanMessage("Where is it?"), asked, result])
    assert answer.content == "The tool said: text is far"


def test_a_streamed_call_is_assembled_from_its_pieces(system: System) -> None:
    chunks = list(chat(system, "tools-parallel").bind_tools([look_up, Weather]).stream("Go"))
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [
        ("look_up", {"city": "text"}),
        ("Weather", {"city": "text", "degrees": 1.5, "rain": True}),
    ]


# LangChain dumps openai-python's parsed messages by a type that does not know what was parsed.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize(
    ("model", "method"),
    [("json", "json_schema"), ("tools", "function_calling")],
)
def test_structured_output_is_the_callers_own_type(system: System, model: str, method: Any) -> None:
    asked = chat(system, model).with_structured_output(Weather, method=method)
    assert asked.invoke("Weather?") == Weather(city="text", degrees=1.5, rain=True)
    *_, last = asked.stream("Weather?")
    assert last == Weather(city="text", degrees=1.5, rain=True)


def test_json_mode_gives_an_object(system: System) -> None:
    asked = chat(system, "json").with_structured_output(None, method="json_mode")
    assert asked.invoke("An object as JSON, please") == {}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("nobody", openai.NotFoundError),
        ("status-400", openai.BadRequestError),
        ("status-429", openai.RateLimitError),
        ("status-500", openai.InternalServerError),
    ],
)
def test_errors_are_those_of_openais_client(
    system: System, model: str, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind):
        chat(system, model).invoke("Hello")
    with pytest.raises(kind):
        list(chat(system, model).stream("Hello"))


def test_a_stream_that_breaks_raises(system: System) -> None:
    got = ""
    with pytest.raises(openai.APIError, match="broke off"):
        for chunk in chat(system, "cut-3").stream("Hello"):
            got += str(chunk.content)
    assert got == words(3)


def test_its_retries_see_an_upstream_through_a_rate_limit(system: System) -> None:
    assert chat(system, "busy-2", max_retries=2).invoke("Hello").content == words(3)


PNG = "iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}


@pytest.mark.parametrize("responses_api", [False, True], ids=["chat", "responses"])
def test_images_and_files_are_sent_by_users_and_by_tools(
    system: System, responses_api: bool
) -> None:
    image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
    pdf = {"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf", "filename": "a"}
    messages: list[BaseMessage] = [
        HumanMessage([{"type": "text", "text": "What are they?"}, image, IMAGE, pdf]),
        AIMessage("", tool_calls=[{"name": "look_up", "args": {"city": "Rome"}, "id": "c1"}]),
        ToolMessage([image], tool_call_id="c1"),
    ]
    model = chat(system, "echo-request", use_responses_api=responses_api)
    model.bind_tools([look_up]).invoke(messages)
    [request] = system.upstream.requests()
    user, called, result = request["body"]["messages"]
    shown = [part["type"] for part in user["content"]]
    assert shown == ["text", "image_url", "image_url", "file"]
    assert user["content"][1]["image_url"]["url"] == IMAGE["image_url"]["url"]
    assert user["content"][3]["file"]["file_data"] == "data:application/pdf;base64,JVBERi0="
    assert called["tool_calls"][0]["id"] == result["tool_call_id"] == "c1"
    assert result["content"][0]["image_url"]["url"] == IMAGE["image_url"]["url"]
