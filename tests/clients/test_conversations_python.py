"""openai-python on conversations: its types, its pages, and the responses in them."""

import json
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from tests.clients.conftest import API_KEY
from tests.clients.test_responses_python import HELLO, SHELL, WEATHER, last, streamed
from tests.fakes.system import System
from tests.fakes.upstream import words


def says(text: str, role: str = "user") -> Any:
    return {"type": "message", "role": role, "content": text}


def text_of(item: Any) -> str:
    return "".join(part.text for part in item.content)


def asked(response: Any) -> list[Any]:
    """What the model of an `echo-request` was sent."""
    return [message["content"] for message in json.loads(response.output_text)["messages"]]


def test_a_conversation_is_made_read_changed_and_deleted(client: openai.OpenAI) -> None:
    made = client.conversations.create(metadata={"topic": "demo"})
    assert made.id.startswith("conv_") and made.object == "conversation"
    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"other": "x"})
    assert changed.metadata == {"other": "x"} and changed.created_at == made.created_at
    assert client.conversations.retrieve(made.id) == changed
    assert client.conversations.update(made.id, metadata=None).metadata == {}
    gone = client.conversations.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    for call in (
        client.conversations.retrieve,
        client.conversations.delete,
        client.conversations.items.list,
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            call(made.id)
        assert caught.value.code == "conversation_not_found"


def test_what_it_begins_with_and_what_is_added_is_the_models_history(
    client: openai.OpenAI,
) -> None:
    made = client.conversations.create(items=[says("Be brief.", "developer"), says("one")])
    added = client.conversations.items.create(
        made.id, items=[says("two", "assistant"), says("three")]
    )
    assert [text_of(item) for item in added.data] == ["two", "three"]
    assert (added.first_id, added.last_id) == (added.data[0].id, added.data[1].id)
    response = client.responses.create(model="echo-request", input="four", conversation=made.id)
    assert response.conversation is not None and response.conversation.id == made.id
    assert asked(response) == ["Be brief.", "one", "two", "three", "four"]


def test_what_a_conversation_begins_with_is_answered_without_more_input(
    client: openai.OpenAI,
) -> None:
    made = client.conversations.create(items=[says("one")])
    response = client.responses.create(model="echo-request", conversation=made.id)
    assert asked(response) == ["one"]
    follows = client.responses.create(model="echo-request", previous_response_id=response.id)
    assert asked(follows) == [response.output_text]
    for about in ({}, {"conversation": client.conversations.create().id}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="echo-request", **about)
        assert caught.value.param == "input"


def test_what_was_cut_off_is_told_as_incomplete(client: openai.OpenAI) -> None:
    made = client.conversations.create()
    response = client.responses.create(model="length", input=HELLO, conversation=made.id)
    told = [
        item.status for item in client.conversations.items.list(made.id) if item.type == "message"
    ]
    assert [item.status for item in response.output if item.type == "message"] == ["incomplete"]
    assert told == ["incomplete", "completed"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_is_told_as_items_with_its_own_ids(client: openai.OpenAI, stream: bool) -> None:
    made = client.conversations.create()
    about: Any = {"model": "reasoning", "conversation": made.id}
    if stream:
        response = last(streamed(client, **about))
    else:
        response = client.responses.create(input=HELLO, **about)
    listed = [*client.conversations.items.list(made.id, order="asc")]
    own = [*client.responses.input_items.list(response.id, order="asc")]
    assert [item.id for item in listed] == [item.id for item in (*own, *response.output)]
    assert [item.type for item in listed] == ["message", "reasoning", "message"]
    for item in listed:
        assert client.conversations.items.retrieve(item.id, conversation_id=made.id) == item


def test_items_are_turned_in_pages_either_way(client: openai.OpenAI) -> None:
    made = client.conversations.create()
    for start in range(0, 50, 10):
        texts = [says(str(number)) for number in range(start, start + 10)]
        client.conversations.items.create(made.id, items=texts)
    for limit in (1, 7, 20, 50, 100):
        up = [*client.conversations.items.list(made.id, order="asc", limit=limit)]
        down = [*client.conversations.items.list(made.id, limit=limit)]
        assert [text_of(item) for item in up] == [str(number) for number in range(50)]
        assert down == up[::-1]
    page = client.conversations.items.list(made.id, include=["reasoning.encrypted_content"])
    assert (len(page.data), page.has_more, page.last_id) == (20, True, page.data[-1].id)


def test_a_deleted_item_is_gone_for_the_model_and_for_readers(client: openai.OpenAI) -> None:
    made = client.conversations.create(items=[says("one"), says("secret"), says("three")])
    first = client.responses.create(model="words-3", input="four", conversation=made.id)
    for item in client.conversations.items.list(made.id, limit=2):
        if item.id == first.output[0].id or text_of(item) == "secret":
            deleted: Any = client.conversations.items.delete(item.id, conversation_id=made.id)
            assert deleted == client.conversations.retrieve(made.id)
    response = client.responses.create(model="echo-request", input="five", conversation=made.id)
    assert asked(response) == ["one", "three", "four", "five"]
    for verb in ("retrieve", "delete"):
        call: Any = getattr(client.conversations.items, verb)
        with pytest.raises(openai.NotFoundError) as caught:
            call(first.output[0].id, conversation_id=made.id)
        assert caught.value.param == "item_id"


def test_calls_and_their_results_are_items_and_go_together_whatever_is_deleted(
    client: openai.OpenAI,
) -> None:
    tools: Any = [WEATHER, SHELL]
    made = client.conversations.create()
    reply = client.responses.create(model="tools", input=HELLO, tools=tools, conversation=made.id)
    [call] = reply.output
    assert call.type == "function_call"
    done: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    final = client.responses.create(model="tools", input=[done], tools=tools, conversation=made.id)
    assert final.output_text == "The tool said: sunny"
    items = [*client.conversations.items.list(made.id, order="asc")]
    assert [item.type for item in items] == [
        *("message", "function_call", "function_call_output", "message")
    ]
    client.conversations.items.delete(str(items[1].id), conversation_id=made.id)
    response = client.responses.create(model="echo-request", input="more", conversation=made.id)
    assert len(asked(response)) == 3


def test_all_of_an_input_is_new_to_the_conversation_that_the_body_names(
    client: openai.OpenAI,
) -> None:
    made = client.conversations.create(items=[says("one")])
    call: Any = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    done: Any = {"type": "function_call_output", "call_id": "c", "output": "sunny"}
    asked_for: Any = [says("two"), says("Fine.", "assistant"), call, done, says("one")]
    response = client.responses.create(model="echo-request", input=asked_for, conversation=made.id)
    assert asked(response) == ["one", "two", "Fine.", "sunny", "one"]
    own = [*client.responses.input_items.list(response.id, order="asc")]
    listed = [*client.conversations.items.list(made.id, order="asc")]
    assert [item.id for item in listed[1:-1]] == [item.id for item in own]


def test_chats_and_responses_are_turns_of_one_conversation(client: openai.OpenAI) -> None:
    made = client.conversations.create()
    header = {"X-Conversation-ID": made.id}
    client.responses.create(model="words-3", input="one", conversation=made.id)
    chat = client.chat.completions.with_raw_response.create(
        model="words-3", messages=[{"role": "user", "content": "two"}], extra_headers=header
    )
    plain = chat.headers["x-conversation-id"]
    third = client.responses.create(model="echo-request", input="x", extra_headers=header)
    assert asked(third) == ["one", words(3), "two", words(3), "x"]
    listed = [*client.conversations.items.list(plain, order="asc")]
    assert [text_of(item) for item in listed[:4]] == ["one", words(3), "two", words(3)]
    assert client.conversations.retrieve(plain).id == made.id


def test_every_kind_of_item_is_taken_told_and_sent_again(client: openai.OpenAI) -> None:
    items: Any = [
        says("Be brief.", "system"),
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
                {"type": "input_file", "file_data": "data:text/plain;base64,eA==", "filename": "x"},
            ],
        },
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "shell", "input": "ls"},
    ]
    results: Any = [
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "a b"},
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "server_label": "files",
            "name": "look",
            "arguments": "{}",
            "error": "broke",
        },
    ]
    made = client.conversations.create(items=items)
    client.conversations.items.create(made.id, items=results)
    listed = [*client.conversations.items.list(made.id, order="asc")]
    sent = [item.get("type", "message") for item in (*items, *results)]
    assert [item.type for item in listed] == sent
    assert len({item.id for item in listed}) == len(listed)
    again: Any = [item.to_dict() for item in listed]
    other = client.conversations.create(items=again)
    copied = [*client.conversations.items.list(other.id, order="asc")]
    assert [{**item.to_dict(), "id": ""} for item in copied] == [
        {**item, "id": ""} for item in again
    ]


def test_an_id_that_is_nobodys_is_404_and_names_the_parameter(client: openai.OpenAI) -> None:
    deleted = client.conversations.create().id
    client.conversations.delete(deleted)
    for unknown in (deleted, "conv_" + uuid4().hex, "conv_none"):
        with pytest.raises(openai.NotFoundError) as caught:
            client.responses.create(model="words-3", input=HELLO, conversation=unknown)
        assert (caught.value.code, caught.value.param) == (
            "conversation_not_found",
            "conversation",
        )
        with pytest.raises(openai.NotFoundError):
            client.responses.create(
                model="words-3", input=HELLO, extra_headers={"X-Conversation-ID": unknown}
            )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": [{"role": "user", "content": "x"}] * 21}, "items"),
        ({"items": [{"type": "item_reference", "id": "msg_x"}]}, "items[0]"),
        ({"items": [{"type": "compaction_trigger"}]}, "items[0]"),
        (
            {"items": [{"type": "compaction", "encrypted_content": "tlc1.x"}]},
            "items[0].encrypted_content",
        ),
        (
            {"items": [{"type": "reasoning", "summary": [], "encrypted_content": "tlr1_x"}]},
            "items[0].encrypted_content",
        ),
        ({"items": [{"role": "wizard", "content": "x"}]}, "items[0].role"),
        ({"items": [{"type": "no such"}]}, "items[0].type"),
        (
            {"items": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "items[0].content[0].file_id",
        ),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_conversation_that_cannot_be_is_refused(
    client: openai.OpenAI, body: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.conversations.create(extra_body=body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [("", {}, "metadata"), ("/items", {}, "items"), ("/items", {"items": []}, "items")],
)
def test_what_is_required_is_asked_for(
    client: openai.OpenAI, system: System, path: str, body: Any, param: str
) -> None:
    made = client.conversations.create()
    reply = httpx.post(
        f"{system.base_url()}/conversations/{made.id}{path}",
        json=body,
        headers={"Authorization": f"Bearer {API_KEY}"},
    )
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"after": "msg_x"}, "after")],
)
def test_a_page_that_is_none_is_refused(
    client: openai.OpenAI, query: dict[str, Any], param: str
) -> None:
    made = client.conversations.create()
    with pytest.raises(openai.BadRequestError) as caught:
        client.conversations.items.list(made.id, **query)
    assert caught.value.param == param
