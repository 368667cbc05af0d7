"""Conversations that are compacted and go on, over two API processes and two workers."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from openai.types.responses import ResponseCompactionItem

from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.conftest import KEYS
from tests.patience import waited

pytestmark = [
    pytest.mark.redis,
    # Why, says `strict`.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]
AGENTS: dict[str, Any] = {
    name: upstream_agent(name)
    for name in ("words-3", "slow-1000x20", "echo-request", "length", "refusal")
} | {
    "echo": {"model": "echo"},
    "silent": {"model": "echo", "echo": {"text": ""}},
    "failing": upstream_agent("status-403"),
    "worker": upstream_agent(
        "echo-request", system_prompt="Be brief.", toolsets=[{"type": "tasks"}]
    ),
}
TALK: list[Any] = [
    {"role": "system", "content": "Speak Norwegian."},
    {"role": "user", "content": "Where is my cat?"},
    {"role": "assistant", "content": "I look."},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"in": "box"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
    {"role": "assistant", "content": "In the box."},
    {"role": "user", "content": "And my dog?"},
]


@pytest.fixture
def strict() -> bool:
    return False  # openai-python knows no messages of users in replies, OpenAI's own ones neither


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("compaction")
    settings = {"secret_key": "one for all", "upstream_retries": 0}
    with System(
        directory, {"agents": AGENTS}, apis=2, workers=2, settings=settings, api_keys=KEYS
    ) as system:
        yield system


def compacted(client: openai.OpenAI, model: str = "words-3", **request: Any) -> list[Any]:
    reply = client.responses.compact(model=model, **{"input": TALK, **request})
    return [item.to_dict() for item in reply.output]


def asked(client: openai.OpenAI, **request: Any) -> list[Any]:
    """What the upstream was told, each with its role and text."""
    reply = client.responses.create(model="echo-request", **request)
    messages = json.loads(reply.output_text)["messages"]
    return [(message["role"], message["content"]) for message in messages]


def summary(text: str) -> str:
    return (
        f"[Summary of the earlier conversation, which is not shown]\n{text}\n[End of the summary]"
    )


WENT_ON = [
    ("user", "Where is my cat?"),
    ("user", "And my dog?"),
    ("system", "Speak Norwegian."),
    ("user", summary(words(3).strip())),
]


def test_the_reply_has_what_users_said_then_the_summary(clients: list[openai.OpenAI]) -> None:
    reply = clients[0].responses.compact(model="words-3", input=TALK)
    assert (reply.id[:5], reply.object) == ("resp_", "response.compaction")
    assert abs(reply.created_at - time.time()) < 3600
    assert reply.usage.output_tokens == 3 and reply.usage.input_tokens > 50
    *users, item = reply.output
    texts = [(user.to_dict()["role"], user.to_dict()["content"]) for user in users]
    assert texts == [
        ("user", [{"type": "input_text", "text": "Where is my cat?"}]),
        ("user", [{"type": "input_text", "text": "And my dog?"}]),
    ]
    assert isinstance(item, ResponseCompactionItem)
    assert len({item.id, *(user.id for user in users)}) == 3
    ResponseCompactionItem.model_validate(item.to_dict(), strict=True)
    assert (
        words(3).strip() not in item.encrypted_content and "Norwegian" not in item.encrypted_content
    )
    with pytest.raises(openai.NotFoundError):
        clients[0].responses.retrieve(reply.id)


def test_without_what_users_said_the_reply_is_of_the_clients_types(
    system: System, clients: list[openai.OpenAI]
) -> None:
    strict = clients[0].with_options()
    strict._strict_response_validation = True
    said = [{"role": "assistant", "content": "I begin."}]
    reply = strict.responses.compact(model="words-3", input=said)  # type: ignore[arg-type]
    assert [item.type for item in reply.output] == ["compaction"]


def test_the_model_is_shown_the_conversation_as_text_and_no_tools(
    clients: list[openai.OpenAI],
) -> None:
    [*_, item] = compacted(clients[0], "worker", instructions="Mind the pets.")
    [*_, (_, told)] = asked(clients[1], input=[item])
    request = json.loads(told.split("\n", 1)[1].rsplit("\n", 1)[0])
    assert "tools" not in request
    [prompt, instructions, talk] = [message["content"] for message in request["messages"]]
    assert prompt == "Be brief." and instructions.startswith("Mind the pets.\n\n")
    between = talk.split("---\n")[1]
    assert between == (
        "[system]\nSpeak Norwegian.\n\n[user]\nWhere is my cat?\n\n[assistant]\nI look.\n\n"
        '[assistant calls look]\n{"in": "box"}\n\n[result of look]\na cat\n\n'
        "[assistant]\nIn the box.\n\n[user]\nAnd my dog?\n\n"
    )


def test_what_came_back_is_the_next_input_at_any_process(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    reply = here.responses.compact(model="words-3", input=TALK)
    assert asked(there, input=reply.output) == WENT_ON
    more = [*reply.output, {"role": "user", "content": "Go on"}]
    assert asked(there, input=more) == [*WENT_ON, ("user", "Go on")]


def test_a_chain_is_compacted_and_may_begin_with_a_compaction(
    clients: list[openai.OpenAI],
) -> None:
    here, there, _ = clients
    first = here.responses.create(model="words-3", input="one")
    reply = there.responses.compact(model="words-3", previous_response_id=first.id)
    users = [item.to_dict()["content"][0]["text"] for item in reply.output[:-1]]
    assert users == ["one"]
    second = here.responses.create(model="words-3", input=reply.output)
    told = asked(there, input="two", previous_response_id=second.id)
    assert told == [
        ("user", "one"),
        ("user", summary(words(3).strip())),
        ("assistant", words(3)),
        ("user", "two"),
    ]
    items = there.responses.input_items.list(second.id, order="asc").data
    assert items[-1].to_dict() == reply.output[-1].to_dict()


def test_what_was_compacted_is_compacted_again(clients: list[openai.OpenAI]) -> None:
    once = compacted(clients[0])
    twice = compacted(clients[0], input=[*once, {"role": "user", "content": "Go on"}])
    users = [item["content"][0]["text"] for item in twice[:-1]]
    assert users == ["Where is my cat?", "And my dog?", "Go on"]
    assert asked(clients[0], input=[twice[-1]]) == WENT_ON[2:]


def test_in_a_conversation_the_summary_is_part_of_the_turn(clients: list[openai.OpenAI]) -> None:
    header = {"X-Conversation-ID": str(uuid4())}
    here, there, bob = clients
    items = compacted(here)
    here.responses.create(model="words-3", input=items, extra_headers=header)
    told = asked(there, input="two", extra_headers=header)
    assert told == [*WENT_ON, ("assistant", words(3)), ("user", "two")]
    # Compacting it is no turn of it.
    *users, _ = compacted(there, input="three", extra_headers=header)
    assert [user["content"][0]["text"] for user in users][-2:] == ["two", "three"]
    assert "three" not in str(asked(here, input="four", extra_headers=header))
    with pytest.raises(openai.NotFoundError) as caught:
        compacted(bob, extra_headers=header)
    assert caught.value.code == "conversation_not_found"


def test_the_agent_that_echoes_has_its_echo_for_a_summary(clients: list[openai.OpenAI]) -> None:
    [*_, item] = compacted(clients[0], "echo")
    [*_, (_, told)] = asked(clients[0], input=[item])
    assert "[assistant]\nIn the box." in told


@pytest.mark.parametrize("damage", ["foreign", "cut", "plain", "else", "missing"])
def test_what_was_not_sealed_for_this_key_is_refused(
    clients: list[openai.OpenAI], damage: str
) -> None:
    ana, _, bob = clients
    [*_, item] = compacted(ana)
    content = item["encrypted_content"]
    damaged = {
        "foreign": content,
        "cut": content[:-9] + "AAAAAAA==",
        "plain": 'tlc1.{"kind":"compaction","principal":"bob","items":[]}',
        "else": "gAAAAABopenai",
        "missing": None,
    }[damage]
    client = bob if damage == "foreign" else ana
    question: Any = [{"role": "user", "content": "hi"}, {**item, "encrypted_content": damaged}]
    for ask in (
        client.responses.create,
        client.responses.compact,
        client.responses.input_tokens.count,
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(model="words-3", input=question)
        assert caught.value.param == "input[1].encrypted_content"


@pytest.mark.parametrize(
    ("model", "why"),
    [("length", "did not end"), ("refusal", "refused"), ("silent", "said nothing")],
)
def test_half_a_summary_is_an_error(clients: list[openai.OpenAI], model: str, why: str) -> None:
    with pytest.raises(openai.InternalServerError, match=why) as caught:
        compacted(clients[0], model)
    assert (caught.value.status_code, caught.value.code) == (502, "no_summary")
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_failure_of_the_model_is_told_as_of_a_response(clients: list[openai.OpenAI]) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        compacted(clients[0], "failing")
    assert caught.value.code == "upstream_rejected_us"


def test_who_leaves_cancels_it(system: System) -> None:
    system.upstream.reset()
    body = {"model": "slow-1000x20", "input": TALK}
    url = f"{system.base_url()}/responses/compact"
    headers = {"authorization": f"Bearer {KEYS[0]}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=body, headers=headers, timeout=2)
    waited(system.upstream.closed)


def test_only_the_last_of_what_users_said_is_kept(clients: list[openai.OpenAI]) -> None:
    long = [{"role": "user", "content": f"{n}" * 30_000} for n in range(4)]
    *users, _ = compacted(clients[0], input=long)
    assert [user["content"][0]["text"][0] for user in users] == ["2", "3"]


def test_a_bad_request_names_its_member(clients: list[openai.OpenAI]) -> None:
    bad: dict[str, Any] = {
        "input": {"input": None},
        "input[0].content": {"input": [{"role": "user", "content": 1}]},
        "image": {"image": {"context_compression": "auto"}},
        "previous_response_id": {"input": None, "previous_response_id": "resp_unknown"},
        "model": {"model": None},
    }
    for param, request in bad.items():
        with pytest.raises(openai.BadRequestError) as caught:
            compacted(clients[0], **request)
        assert caught.value.param == param
