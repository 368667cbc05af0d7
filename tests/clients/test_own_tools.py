"""What agents do with tools of their own, seen by real clients, and what goes on after it."""

import json
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from tests.clients.conftest import API_KEY, HAS_AGENT_LANE
from tests.clients.test_caller_tools import FLAT, NESTED
from tests.fakes.system import System

pytestmark = pytest.mark.skipif(not HAS_AGENT_LANE, reason="no worker runs such agents")

ASK = "Read your tasks"
ANSWER = "The tool said: The list is empty."
SHOWN = {"X-Trunkline-Events": "tools"}
MODEL = "able-tasks"


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def pairs_are_whole(messages: list[dict[str, Any]]) -> bool:
    """Whether a provider takes them: each call is answered before anybody else speaks."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return False
        waiting |= {call["id"] for call in message.get("tool_calls") or ()}
    return not waiting


def test_chat_text_stays_clean_unless_more_is_asked_for(client: openai.OpenAI) -> None:
    for header, shown in (({}, False), (SHOWN, True)):
        reply: Any = client.chat.completions.create(
            model=MODEL, messages=said(ASK), extra_headers=header
        )
        assert reply.choices[0].message.content == ANSWER
        assert reply.choices[0].message.tool_calls is None
        chunks: list[Any] = list(
            client.chat.completions.create(
                model=MODEL, messages=said(ASK), extra_headers=header, stream=True
            )
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
        told = [c.model_extra["trunkline"]["activity"] for c in chunks if c.model_extra]
        assert bool(told) == bool(reply.model_extra) == shown
        if shown:
            [activity] = reply.model_extra["trunkline"]["activities"]
            assert (activity["toolset"], activity["name"]) == ("tasks", "read_tasks")
            assert activity["output"] == "".join(each.get("output", "") for each in told)
            assert told[-1]["status"] == activity["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
def test_responses_show_them_and_later_turns_see_them(
    client: openai.OpenAI, system: System, stream: bool
) -> None:
    if stream:
        with client.responses.stream(model=MODEL, input=ASK) as events:
            first: Any = events.until_done().get_final_response()
    else:
        first = client.responses.create(model=MODEL, input=ASK)
    call, message = first.output
    assert (call.type, call.server_label, call.name) == ("mcp_call", "tasks", "read_tasks")
    assert (call.output, call.error, call.status) == ("The list is empty.", None, "completed")
    assert message.type == "message" and first.output_text == ANSWER
    stored: Any = client.responses.retrieve(first.id)
    assert [item.id for item in stored.output] == [call.id, message.id]
    assert stored.output[0] == call
    system.upstream.reset()
    # The direct lane takes what the other one did, by its id or sent back as it came.
    client.responses.create(model="words-3", input="More", previous_response_id=first.id)
    again = [*said(ASK), *(item.to_dict() for item in first.output), *said("More")]
    client.responses.create(model="words-3", input=again)  # type: ignore[arg-type]
    for request in system.upstream.requests():
        messages = request["body"]["messages"]
        assert pairs_are_whole(messages)
        assert [each["role"] for each in messages] == [
            *("user", "assistant", "tool", "assistant", "user")
        ]
        assert messages[2]["content"] == "The list is empty."


def test_a_conversation_goes_on_with_any_agent_and_lists_what_was_done(
    client: openai.OpenAI, system: System
) -> None:
    header = {"X-Conversation-ID": str(uuid4())}
    for model, text in ((MODEL, ASK), ("words-3", "More"), (MODEL, ASK)):
        client.chat.completions.create(model=model, messages=said(text), extra_headers=header)
    for request in system.upstream.requests():
        assert pairs_are_whole(request["body"]["messages"])
    url = f"{system.url()}/api/conversations/{header['X-Conversation-ID']}/events/search"
    reply = httpx.get(url, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=60)
    events = reply.json()["items"]
    kinds = [event["kind"] for event in events]
    acted = ["MessageEvent", "ActionEvent", "ObservationEvent", "MessageEvent"]
    assert kinds == [*acted, "MessageEvent", "MessageEvent", *acted]
    action, observation = events[1:3]
    assert (action["tool_name"], action["action"]["kind"]) == ("read_tasks", "MCPToolAction")
    assert observation["action_id"] == action["id"]
    assert observation["observation"]["content"][0]["text"] == "The list is empty."
    assert observation["observation"]["is_error"] is False


def test_a_turn_with_both_kinds_of_calls_gives_the_caller_only_its_own(
    client: openai.OpenAI, system: System
) -> None:
    first: Any = client.responses.create(model="both-tools", input=ASK, tools=FLAT)  # type: ignore[arg-type]
    own = [item for item in first.output if item.type == "mcp_call"]
    asked = [item for item in first.output if item.type != "mcp_call"]
    assert {item.name for item in own} == {"read_tasks", "write_tasks"}
    assert [item.name for item in asked] == ["weather", "shell", "news"]
    results: list[Any] = [
        {"type": f"{item.type}_output", "call_id": item.call_id, "output": item.name}
        for item in asked
    ]
    system.upstream.reset()
    second = client.responses.create(
        model="both-tools",
        input=results,
        tools=FLAT,  # type: ignore[arg-type]
        previous_response_id=first.id,
    )
    assert second.output_text == "The tool said: news"
    [request] = system.upstream.requests()
    assert pairs_are_whole(request["body"]["messages"])
    chat = client.chat.completions.create(
        model="both-tools",
        messages=said(ASK),
        tools=NESTED,  # type: ignore[arg-type]
    ).choices[0]
    assert chat.finish_reason == "tool_calls"
    assert len(chat.message.tool_calls or ()) == len(NESTED)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_the_agent_has_itself_is_refused_by_name(
    client: openai.OpenAI, stream: bool
) -> None:
    schema = {"type": "object", "properties": {}}
    flat: Any = {"type": "function", "name": "read_tasks", "parameters": schema, "strict": False}
    nested: Any = {"type": "function", "function": {"name": "read_tasks"}}
    for ask in (
        lambda: client.responses.create(model=MODEL, input="Hi", tools=[flat], stream=stream),
        lambda: client.chat.completions.create(
            model=MODEL, messages=said("Hi"), tools=[nested], stream=stream
        ),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask()
        assert caught.value.param == "tools"
        assert "read_tasks" in json.dumps(caught.value.body)
