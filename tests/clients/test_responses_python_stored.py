"""openai-python on stored responses: found again, followed, forgotten."""

import json
from typing import Any
from uuid import uuid4

import openai
import pytest

from tests.clients.test_responses_python import HELLO, SHELL, WEATHER, last, streamed
from tests.fakes.upstream import words


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_is_found_as_it_was_replied(client: openai.OpenAI, stream: bool) -> None:
    about: Any = {"model": "words-3", "metadata": {"a": "b"}, "instructions": "Shout."}
    if stream:
        replied = last(streamed(client, **about))
    else:
        replied = client.responses.create(input=HELLO, **about)
    found = client.responses.retrieve(replied.id)
    assert found.output_text == words(3)
    # Who replied and who stored it looked at different clocks.
    assert {**found.to_dict(), "completed_at": 0} == {**replied.to_dict(), "completed_at": 0}


def test_an_incomplete_response_is_found_incomplete(client: openai.OpenAI) -> None:
    found = client.responses.retrieve(client.responses.create(model="length", input=HELLO).id)
    assert found.status == "incomplete"


def test_a_failed_response_is_found_failed(client: openai.OpenAI) -> None:
    found = client.responses.retrieve(last(streamed(client, model="error-chunk")).id)
    assert found.status == "failed" and found.error is not None


def test_a_response_is_found_while_it_runs(client: openai.OpenAI) -> None:
    request: Any = {"model": "slow-1000x20", "input": HELLO, "stream": True}
    with client.responses.create(**request) as stream:
        first = next(iter(stream))
        assert first.type == "response.created"
        found = client.responses.retrieve(first.response.id)
    assert (found.status, found.output) == ("in_progress", [])


def test_what_is_not_stored_or_was_deleted_is_not_found(client: openai.OpenAI) -> None:
    unstored = client.responses.create(model="words-3", input=HELLO, store=False)
    deleted = client.responses.create(model="words-3", input=HELLO)
    client.responses.delete(deleted.id)
    for response in (unstored.id, deleted.id, "resp_unknown"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response)
        with pytest.raises(openai.NotFoundError):
            client.responses.delete(response)
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="words-3", input=HELLO, previous_response_id=response)
        assert caught.value.code == "previous_response_not_found"


def test_a_chain_is_the_context_and_instructions_are_not_carried_over(
    client: openai.OpenAI,
) -> None:
    first = client.responses.create(model="words-3", input="one", instructions="Shout.")
    second = client.responses.create(
        model="reasoning", input="two", previous_response_id=first.id, instructions="Whisper."
    )
    third = client.responses.create(
        model="echo-request", input="three", previous_response_id=second.id
    )
    assert third.previous_response_id == second.id
    sent = json.loads(third.output_text)["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("user", "one"),
        ("assistant", words(3)),
        ("user", "two"),
        ("assistant", "Done thinking"),
        ("user", "three"),
    ]


def test_a_call_is_answered_by_following_its_response(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER, SHELL]
    reply = client.responses.create(model="tools", input=HELLO, tools=tools)
    [call] = reply.output
    assert call.type == "function_call"
    done: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    final = client.responses.create(
        model="tools", input=[done], tools=tools, previous_response_id=reply.id
    )
    assert final.output_text == "The tool said: sunny"


def test_what_was_asked_is_listed_in_pages(client: openai.OpenAI) -> None:
    asked: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"role": "assistant", "content": "two"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "shell", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "a b"},
        {"role": "user", "content": "three"},
    ]
    response = client.responses.create(model="words-3", input=asked, tools=[WEATHER, SHELL])
    listed = [*client.responses.input_items.list(response.id, order="asc")]
    assert [item.type for item in listed] == [
        *("message", "message", "message", "function_call", "function_call_output"),
        *("custom_tool_call", "custom_tool_call_output", "message"),
    ]
    assert len({item.id for item in listed}) == len(listed)
    paged = [*client.responses.input_items.list(response.id, limit=3)]
    assert paged == [*reversed(listed)]
    first = client.responses.input_items.list(
        response.id, limit=3, include=["reasoning.encrypted_content"]
    )
    assert first.has_more and [item.id for item in first.data] == [item.id for item in paged[:3]]
    again: Any = [item.to_dict() for item in listed]
    assert client.responses.create(model="words-3", input=again).status == "completed"


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"after": "msg_x"}, "after")],
)
def test_a_page_that_is_none_is_refused(
    client: openai.OpenAI, query: dict[str, Any], param: str
) -> None:
    response = client.responses.create(model="words-3", input=HELLO)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.input_items.list(response.id, **query)
    assert caught.value.param == param
    with pytest.raises(openai.NotFoundError):
        client.responses.input_items.list("resp_unknown")


@pytest.mark.parametrize("spelled", ["{}", "conv_{}"])
def test_a_conversation_is_named_in_the_body(client: openai.OpenAI, spelled: str) -> None:
    plain = str(uuid4())  # with which a conversation may begin
    first = client.responses.create(model="words-3", input="one", conversation=plain)
    named = spelled.format(plain)
    assert first.conversation is not None and first.conversation.id == plain
    second = client.responses.create(model="echo-request", input="two", conversation={"id": named})
    sent = json.loads(second.output_text)["messages"]
    assert [message["content"] for message in sent] == ["one", words(3), "two"]
    header = {"X-Conversation-ID": plain}
    third = client.responses.create(
        model="echo-request", input="three", conversation=named, extra_headers=header
    )
    assert len(json.loads(third.output_text)["messages"]) == 5
    found = client.responses.retrieve(third.id)
    assert found.conversation is not None and found.conversation.id == named


@pytest.mark.parametrize(
    "request_",
    [
        {"conversation": "no uuid"},
        {"conversation": {}},
        {"conversation": str(uuid4()), "previous_response_id": "resp_x"},
        {"conversation": str(uuid4()), "extra_headers": {"X-Conversation-ID": str(uuid4())}},
    ],
)
def test_a_conversation_that_cannot_be_is_refused(client: openai.OpenAI, request_: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="words-3", input=HELLO, **request_)
    assert (caught.value.param or "").startswith("conversation")


def test_what_was_not_compacted_here_is_refused(client: openai.OpenAI) -> None:
    item: Any = {"type": "compaction", "encrypted_content": "tlc1.{}"}
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="words-3", input=[item])
    assert caught.value.param == "input[0].encrypted_content"
