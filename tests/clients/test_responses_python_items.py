"""openai-python: the items of a response named, sent back, and kept as they came."""

import json
from typing import Any

import openai
import pytest

from tests.clients.test_responses_python import HELLO, WEATHER, last, streamed
from tests.fakes.upstream import words
from tests.fakes.upstream_plan import plan


def test_items_are_named_by_their_ids(client: openai.OpenAI) -> None:
    first = client.responses.create(model="words-3", input="one")
    asked = client.responses.input_items.list(first.id).data[0].id
    named: Any = [{"type": "item_reference", "id": each} for each in (asked, first.output[0].id)]
    second = client.responses.create(
        model="echo-request", input=[*named, {"role": "user", "content": "two"}]
    )
    sent = json.loads(second.output_text)["messages"]
    assert [message["content"] for message in sent] == ["one", words(3), "two"]
    listed = client.responses.input_items.list(second.id, order="asc")
    assert [item.type for item in listed.data] == ["message", "message", "message"]


def test_a_call_is_named_and_answered(client: openai.OpenAI) -> None:
    reply = client.responses.create(model="tools", input=HELLO, tools=[WEATHER])
    [call] = reply.output
    assert call.type == "function_call" and call.id is not None
    answer: Any = [
        {"role": "user", "content": HELLO},
        {"type": "item_reference", "id": call.id},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    final = client.responses.create(model="tools", input=answer, tools=[WEATHER])
    assert final.output_text == "The tool said: sunny"


def test_an_unknown_item_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(
            model="words-3", input=[{"type": "item_reference", "id": "msg_unknown"}]
        )
    assert (caught.value.param, caught.value.code) == ("input[0].id", "item_not_found")


def test_items_of_openais_tools_are_kept_in_chains(client: openai.OpenAI) -> None:
    opaque: Any = [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "x"}},
        {"type": "computer_call", "id": "cu_1", "call_id": "c", "status": "completed"},
    ]
    first = client.responses.create(
        model="words-3", input=[*opaque, {"role": "user", "content": "1"}]
    )
    raw = client.responses.input_items.with_raw_response.list(first.id, order="asc")
    assert json.loads(raw.text)["data"][:2] == opaque
    second = client.responses.create(model="words-3", input="2", previous_response_id=first.id)
    assert second.output_text == words(3)


@pytest.mark.parametrize("stream", [True, False])
def test_messages_say_whether_they_are_the_answer(client: openai.OpenAI, stream: bool) -> None:
    steps = plan({"say": "I look. ", "calls": [("read_tasks", {})]}, {"say": "None."})
    request: Any = {"model": "plan-tasks", "input": steps}
    reply = last(streamed(client, **request)) if stream else client.responses.create(**request)
    items: list[Any] = reply.output
    assert [(item.type, getattr(item, "phase", None)) for item in items] == [
        ("message", "commentary"),
        ("mcp_call", None),
        ("message", "final_answer"),
    ]
    assert client.responses.retrieve(reply.id).output == items
    replayed = [*client.responses.retrieve(reply.id, stream=True)]
    assert last(replayed).output == items
    history: Any = [*(item.to_dict() for item in items), {"role": "user", "content": "more"}]
    again = client.responses.create(model="words-3", input=history)
    listed: list[Any] = client.responses.input_items.list(again.id, order="asc").data
    assert [listed[at].to_dict()["phase"] for at in (0, 2)] == ["commentary", "final_answer"]


def test_what_is_too_long_is_truncated_for_those_who_want_it(client: openai.OpenAI) -> None:
    turns: Any = [
        {"role": role, "content": f"{role} {n}"} for n in range(4) for role in ("user", "assistant")
    ]
    about: Any = {"model": "context-3", "input": [*turns, {"role": "user", "content": "more"}]}
    reply = client.responses.create(**about, truncation="auto")
    assert (reply.output_text, reply.truncation) == (words(3), "auto")
    final = last(streamed(client, **about, truncation="auto"))
    assert (final.output_text, final.truncation) == (words(3), "auto")
    for truncation in ("disabled", None):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(**about, truncation=truncation)
        assert caught.value.code == "context_length_exceeded"


def test_tools_in_namespaces_are_called_and_answered(client: openai.OpenAI) -> None:
    space: Any = {"type": "namespace", "name": "crm", "description": "CRM", "tools": [WEATHER]}
    about: Any = {"model": "tools", "tools": [space, {"type": "local_shell"}], "store": False}
    reply = client.responses.create(input=HELLO, **about)
    for response in (reply, last(streamed(client, **about))):
        [call] = response.output
        assert call.type == "function_call"
        assert (call.namespace, call.name) == ("crm", "weather")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    history: Any = [{"role": "user", "content": HELLO}, call.to_dict(), result]
    final = client.responses.create(input=history, **about)
    assert final.output_text == "The tool said: sunny"
    assert [tool.type for tool in final.tools] == ["namespace", "local_shell"]
