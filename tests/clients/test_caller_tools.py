"""The caller's tools, in all their forms, through both APIs and every way to go on after a call."""

import json
from typing import Any
from uuid import uuid4

import openai
import pytest

from tests.clients.conftest import ABLE
from tests.clients.test_openai_python import HELLO
from tests.fakes.system import System

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
GRAMMAR = {"syntax": "lark", "definition": 'start: "a"+'}
PNG = "data:image/png;base64,iVBORw0KGgo="
ASK = "Say 'Oslo' please"


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": SCHEMA, "strict": True}


FLAT = [tool("weather"), {"type": "custom", "name": "shell"}, tool("news")]
NESTED = [
    {"type": each["type"], each["type"]: {k: v for k, v in each.items() if k != "type"}}
    for each in FLAT
]


@pytest.fixture(params=ABLE)
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def names(choice: Any) -> dict[str, Any]:
    """A choice of Responses, and the same of chat completions."""
    if isinstance(choice, str):
        return {"flat": choice, "nested": choice}
    nested = {"type": choice["type"]}
    if choice["type"] == "allowed_tools":
        tools = [{"type": t["type"], t["type"]: {"name": t["name"]}} for t in choice["tools"]]
        nested["allowed_tools"] = {"mode": choice["mode"], "tools": tools}
    else:
        nested[choice["type"]] = {"name": choice["name"]}
    return {"flat": choice, "nested": nested}


def allowed(mode: str, name: str) -> dict[str, Any]:
    return {
        "type": "allowed_tools",
        "mode": mode,
        "tools": [{"type": "custom" if name == "shell" else "function", "name": name}],
    }


CHOICES: list[tuple[Any, str | None]] = [
    ("none", None),
    ("auto", None),
    ("required", "news"),
    ({"type": "function", "name": "weather"}, "weather"),
    ({"type": "custom", "name": "shell"}, "shell"),
    (allowed("auto", "weather"), None),
    (allowed("required", "weather"), "weather"),
    (allowed("required", "shell"), "shell"),
]


def chat(client: openai.OpenAI, model: str, messages: Any, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=messages, **more).choices[0]


@pytest.mark.parametrize(("choice", "called"), CHOICES, ids=str)
def test_every_choice_has_its_effect_in_chat(
    client: openai.OpenAI, agent: str, choice: Any, called: str | None
) -> None:
    wanted = names(choice)["nested"]
    answer = chat(client, agent, HELLO, tools=NESTED, tool_choice=wanted)
    made = [getattr(call, call.type).name for call in answer.message.tool_calls or ()]
    assert made == ([called] if called else [])
    assert answer.finish_reason == ("tool_calls" if called else "stop")


@pytest.mark.parametrize(("choice", "called"), CHOICES, ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_every_choice_has_its_effect_in_responses(
    client: openai.OpenAI, agent: str, stream: bool, choice: Any, called: str | None
) -> None:
    asked: Any = {"model": agent, "input": "Hello", "tools": FLAT, "tool_choice": choice}
    if stream:
        *_, last = client.responses.create(**asked, stream=True)
        response: Any = last.response  # type: ignore[union-attr]  # of a stream's end
    else:
        response = client.responses.create(**asked)
    assert [getattr(item, "name", None) for item in response.output] == [called]
    assert response.status == "completed"
    assert json.loads(response.to_json())["tool_choice"] == choice


def test_grammars_reach_the_upstream_in_its_form(client: openai.OpenAI, system: System) -> None:
    shell = {"name": "shell", "format": {"type": "grammar", "grammar": GRAMMAR}}
    chat(client, "echo-request", HELLO, tools=[{"type": "custom", "custom": shell}])
    flat: Any = {"type": "custom", "name": "shell", "format": {"type": "grammar", **GRAMMAR}}
    reply = client.responses.create(model="echo-request", input="Hi", tools=[flat])
    assert reply.tools[0].to_dict() == flat
    for request in system.upstream.requests():
        assert request["body"]["tools"] == [{"type": "custom", "custom": shell}]


def test_strictness_and_parallel_calls_reach_the_upstream_from_both(
    client: openai.OpenAI, system: System
) -> None:
    more: Any = {"parallel_tool_calls": False}
    chat(client, "echo-request", HELLO, tools=NESTED, **more)
    client.responses.create(model="echo-request", input="Hi", tools=FLAT, **more)
    for request in system.upstream.requests():
        assert request["body"]["tools"] == NESTED
        assert request["body"]["parallel_tool_calls"] is False


def test_a_result_of_several_parts_is_handed_on(client: openai.OpenAI, system: System) -> None:
    image = {"type": "image_url", "image_url": {"url": PNG}}
    parts: list[Any] = [{"type": "text", "text": "seen"}, image]
    made = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history: list[Any] = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [made]}]
    history.append({"role": "tool", "tool_call_id": "c", "content": parts})
    chat(client, "echo-request", history, tools=NESTED)
    items: list[Any] = [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
    ]
    output = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": PNG}]
    items.append({"type": "function_call_output", "call_id": "c", "output": output})
    client.responses.create(model="echo-request", input=items, tools=FLAT)  # type: ignore[arg-type]
    for request in system.upstream.requests():
        assert request["body"]["messages"][-1] == {
            "role": "tool",
            "tool_call_id": "c",
            "content": parts,
        }


def test_calls_are_answered_statelessly(client: openai.OpenAI, agent: str) -> None:
    for name in ("weather", "shell"):
        kind = "custom" if name == "shell" else "function"
        choice = names({"type": kind, "name": name})["nested"]
        asked = [{"role": "user", "content": ASK}]
        first = chat(client, agent, asked, tools=NESTED, tool_choice=choice)
        [call] = first.message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
        answer = chat(client, agent, [*asked, first.message.to_dict(), result], tools=NESTED)
        assert answer.message.content == "The tool said: done"


def response_to(client: openai.OpenAI, agent: str, asked: Any, name: str, **more: Any) -> Any:
    kind = "custom" if name == "shell" else "function"
    choice: Any = {"type": kind, "name": name}
    return client.responses.create(model=agent, input=asked, tools=FLAT, tool_choice=choice, **more)


@pytest.mark.parametrize("name", ["weather", "shell"])
@pytest.mark.parametrize("way", ["input", "previous", "conversation"])
def test_responses_are_answered_in_every_way(
    client: openai.OpenAI, agent: str, way: str, name: str
) -> None:
    header = {"X-Conversation-ID": str(uuid4())} if way == "conversation" else {}
    asked: list[Any] = [{"role": "user", "content": ASK}]
    first = response_to(client, agent, asked, name, extra_headers=header)
    [call] = first.output
    kind = "custom_tool_call" if name == "shell" else "function_call"
    result: Any = {"type": f"{kind}_output", "call_id": call.call_id, "output": "done"}
    given: Any = {"input": [result]}
    if way == "previous":
        given["previous_response_id"] = first.id
    elif way == "input":
        given["input"] = [*asked, call.to_dict(), result]
    second = client.responses.create(model=agent, tools=FLAT, extra_headers=header, **given)
    assert second.output_text == "The tool said: done"


@pytest.mark.parametrize("resent", [False, True])
def test_a_conversation_is_answered_in_chat(
    client: openai.OpenAI, agent: str, resent: bool
) -> None:
    header = {"X-Conversation-ID": str(uuid4())}
    choice = names({"type": "function", "name": "weather"})["nested"]
    asked = [{"role": "user", "content": ASK}]
    first = chat(client, agent, asked, tools=NESTED, tool_choice=choice, extra_headers=header)
    [call] = first.message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    new = [*asked, first.message.to_dict(), result] if resent else [result]
    answer = chat(client, agent, new, tools=NESTED, extra_headers=header)
    assert answer.message.content == "The tool said: done"


def test_what_does_not_go_together_is_refused_by_name(client: openai.OpenAI) -> None:
    first = response_to(client, "able", ASK, "weather")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="able", input="More", previous_response_id=first.id)
    assert caught.value.param == "input" and "No tool output found" in str(caught.value)
    stray: Any = {"type": "function_call_output", "call_id": "nobody's", "output": ""}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="able", input=[stray], previous_response_id=first.id)
    assert caught.value.param == "input[0].call_id"
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, "able", [{"role": "tool", "tool_call_id": "x", "content": ""}])
    assert caught.value.param == "messages[0].tool_call_id"


@pytest.mark.parametrize("tools", [FLAT, NESTED], ids=["responses", "chat"])
def test_two_tools_of_one_name_are_refused(client: openai.OpenAI, tools: Any) -> None:
    twice = [*tools, tools[0]]
    with pytest.raises(openai.BadRequestError) as caught:
        if tools is NESTED:
            chat(client, "able", HELLO, tools=twice)
        else:
            client.responses.create(model="able", input="Hi", tools=twice)
    assert str(caught.value.param).startswith("tools[3]")
