"""openai-python: tools in both modes, and answers by a schema."""

import json
from typing import Any

import openai
import pydantic
import pytest
from openai.types import chat

from tests.clients.test_openai_python import HELLO, echoed, joined


def function(name: str, *required: str) -> chat.ChatCompletionFunctionToolParam:
    properties: dict[str, object] = {each: {"type": "string"} for each in required}
    schema: dict[str, object] = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "parameters": schema, "strict": True},
    }


WEATHER = function("weather", "city", "day")
NEWS = function("news", "topic")
SHELL: chat.ChatCompletionCustomToolParam = {
    "type": "custom",
    "custom": {"name": "shell", "description": "Runs a line", "format": {"type": "text"}},
}
WEATHER_ARGUMENTS = {"city": "text", "day": "text"}


def calls_of(message: chat.ChatCompletionMessage) -> list[tuple[str, str, str]]:
    """Kind, name and arguments of each call."""
    found = []
    for call in message.tool_calls or ():
        if call.type == "function":
            found.append((call.type, call.function.name, call.function.arguments))
        else:
            found.append((call.type, call.custom.name, call.custom.input))
    return found


@pytest.mark.parametrize("model", ["tools", "tools-odd"])
def test_a_function_is_called(client: openai.OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=HELLO, tools=[WEATHER])
    choice = reply.choices[0]
    [(kind, name, arguments)] = calls_of(choice.message)
    assert (kind, name, json.loads(arguments)) == ("function", "weather", WEATHER_ARGUMENTS)
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None


def test_functions_and_custom_tools_are_called_side_by_side(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tools-parallel", messages=HELLO, tools=[WEATHER, SHELL, NEWS]
    )
    calls = calls_of(reply.choices[0].message)
    assert [(kind, name) for kind, name, _ in calls] == [
        ("function", "weather"),
        ("custom", "shell"),
        ("function", "news"),
    ]
    assert calls[1][2] == "some free text"
    assert len({call.id for call in reply.choices[0].message.tool_calls or ()}) == 3


def test_a_streamed_call_names_itself_once_and_adds_up(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tools-parallel", messages=HELLO, tools=[WEATHER, NEWS], stream=True
        )
    )
    deltas = [each for c in chunks for each in c.choices[0].delta.tool_calls or ()]
    for index, name in ((0, "weather"), (1, "news")):
        first, *others = [delta for delta in deltas if delta.index == index]
        assert (first.id, first.type) == (f"call_{index}", "function")
        assert first.function is not None
        assert first.function.name == name
        assert others
        for delta in others:
            assert (delta.id, delta.type) == (None, None)
            assert delta.function is not None
            assert delta.function.name is None
    texts = [delta.function.arguments or "" for delta in deltas if delta.function]
    assert "".join(texts) == json.dumps(WEATHER_ARGUMENTS) + json.dumps({"topic": "text"})
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_stream_helper_assembles_calls(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="tools-parallel", messages=HELLO, tools=[WEATHER, NEWS]
    ) as stream:
        done = [e for e in stream if e.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [(event.name, event.parsed_arguments) for event in done] == [
        ("weather", WEATHER_ARGUMENTS),
        ("news", {"topic": "text"}),
    ]
    assert [name for _, name, _ in calls_of(final.choices[0].message)] == ["weather", "news"]


def test_a_custom_call_is_streamed(client: openai.OpenAI) -> None:
    # The client's own type knows only functions in a stream, as OpenAI's document does.
    lenient = client.with_options(_extra_kwargs={"_strict_response_validation": False})
    chunks = list(
        lenient.chat.completions.create(model="tools", messages=HELLO, tools=[SHELL], stream=True)
    )
    deltas: list[Any] = [each for c in chunks for each in c.choices[0].delta.tool_calls or ()]
    assert (deltas[0].id, deltas[0].type) == ("call_0", "custom")
    assert deltas[0].custom["name"] == "shell"
    assert "".join(delta.custom["input"] for delta in deltas) == "some free text"


def test_results_go_back_and_the_answer_follows(client: openai.OpenAI) -> None:
    messages: list[chat.ChatCompletionMessageParam] = list(HELLO)
    first = client.chat.completions.create(
        model="tools-parallel", messages=messages, tools=[WEATHER, SHELL]
    )
    message = first.choices[0].message
    # What the client got is what it sends back.
    messages.append(message.to_dict())  # type: ignore[arg-type]
    for number, call in enumerate(message.tool_calls or ()):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"result {number}"})
    sent = echoed(client, messages=messages, tools=[WEATHER, SHELL])["messages"]
    assert sent[1]["tool_calls"] == [c.to_dict() for c in message.tool_calls or ()]
    assert [(each["tool_call_id"], each["content"]) for each in sent[2:]] == [
        ("call_0", "result 0"),
        ("call_1", "result 1"),
    ]
    with client.chat.completions.stream(
        model="tools-parallel", messages=messages, tools=[WEATHER]
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "The tool said: result 1"


@pytest.mark.parametrize(
    "choice",
    [
        "none",
        "auto",
        "required",
        {"type": "function", "function": {"name": "news"}},
        {"type": "custom", "custom": {"name": "shell"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "news"}}],
            },
        },
    ],
    ids=str,
)
def test_tools_and_the_choice_among_them_reach_the_upstream(
    client: openai.OpenAI, choice: Any
) -> None:
    tools = [WEATHER, SHELL, NEWS]
    sent = echoed(
        client, messages=HELLO, tools=tools, tool_choice=choice, parallel_tool_calls=False
    )
    assert (sent["tools"], sent["tool_choice"]) == (tools, choice)
    assert sent["parallel_tool_calls"] is False


def test_the_named_tool_is_the_one_called(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model="tools",
        messages=HELLO,
        tools=[WEATHER, SHELL],
        tool_choice={"type": "custom", "custom": {"name": "shell"}},
    )
    assert calls_of(reply.choices[0].message) == [("custom", "shell", "some free text")]


class Step(pydantic.BaseModel):
    explanation: str
    done: bool


class Plan(pydantic.BaseModel):
    title: str
    count: int
    costs: list[float]


def test_parse_gives_the_callers_own_type(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="json", messages=HELLO, response_format=Plan)
    plan = Plan(title="text", count=1, costs=[])
    assert reply.choices[0].message.parsed == plan
    with client.chat.completions.stream(
        model="json", messages=HELLO, response_format=Plan
    ) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == plan


def test_parse_gives_a_functions_arguments_as_the_callers_own_type(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Step, name="step")
    reply = client.chat.completions.parse(model="tools", messages=HELLO, tools=[tool])
    [call] = reply.choices[0].message.tool_calls or ()
    assert call.function.parsed_arguments == Step(explanation="text", done=True)


def test_parse_tells_answers_that_were_cut_or_filtered(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="length", messages=HELLO, response_format=Plan)
    with pytest.raises(openai.ContentFilterFinishReasonError):
        client.chat.completions.parse(model="filter", messages=HELLO, response_format=Plan)


def test_a_json_object_is_asked_for_and_given(client: openai.OpenAI) -> None:
    wanted: Any = {"type": "json_object"}
    chunks = list(
        client.chat.completions.create(
            model="json", messages=HELLO, response_format=wanted, stream=True
        )
    )
    assert json.loads(joined(chunks)) == {}
    assert echoed(client, messages=HELLO, response_format=wanted)["response_format"] == wanted


def test_the_schema_reaches_the_upstream_as_it_was_sent(client: openai.OpenAI) -> None:
    # Of what the model says, which is its request.
    schema = {"type": "object", "properties": {"model": {"type": "string"}}, "required": ["model"]}
    named = {"name": "thing", "description": "A thing", "schema": schema, "strict": True}
    wanted: Any = {"type": "json_schema", "json_schema": named}
    assert echoed(client, messages=HELLO, response_format=wanted)["response_format"] == wanted


def test_a_refusal_is_no_answer_to_be_parsed(client: openai.OpenAI) -> None:
    reply = client.chat.completions.parse(model="refusal", messages=HELLO, response_format=Plan)
    message = reply.choices[0].message
    assert (message.refusal, message.parsed) == ("I will not.", None)
    answer = client.responses.parse(model="refusal", input="Plan it", text_format=Plan)
    assert answer.output_parsed is None and answer.status == "completed"
