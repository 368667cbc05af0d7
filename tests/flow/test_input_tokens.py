"""Counting what an agent would read: a run that leaves nothing behind."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from tests.fakes.system import System, upstream_agent

pytestmark = pytest.mark.redis
KEYS = ("ana-key", "bob-key")
AGENTS: dict[str, Any] = {
    "echo": {"model": "echo"},
    "words-3": upstream_agent("words-3"),
    "prompted": upstream_agent("words-3", system_prompt="p" * 400),
    "tools": upstream_agent("tools"),
    "worker": upstream_agent("words-3", toolsets=[{"type": "tasks"}]),
}
SAY = "x" * 396  # with what a message takes besides, a hundred tokens
WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("counting")
    settings = {"secret_key": "one for all"}
    with System(directory, {"agents": AGENTS}, settings=settings, api_keys=KEYS) as system:
        yield system


@pytest.fixture(scope="module")
def client(system: System) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=system.base_url(),
        api_key=KEYS[0],
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def tokens(client: openai.OpenAI, model: str, **request: Any) -> int:
    counted = client.responses.input_tokens.count(model=model, **request)
    assert counted.object == "response.input_tokens"
    return counted.input_tokens


def test_the_agent_that_echoes_counts_words(client: openai.OpenAI) -> None:
    asked: Any = {"input": "one two three", "instructions": "Be brief."}
    assert tokens(client, "echo", **asked) == 5
    assert client.responses.create(model="echo", **asked).usage.input_tokens == 5  # type: ignore[union-attr]
    reply = client.responses.input_tokens.with_raw_response.count(model="echo", input="hi")
    assert reply.http_response.json() == {"object": "response.input_tokens", "input_tokens": 1}


def test_who_cannot_count_estimates_and_says_so(client: openai.OpenAI) -> None:
    reply = client.responses.input_tokens.with_raw_response.count(model="words-3", input=SAY)
    assert reply.http_response.json() == {
        "object": "response.input_tokens",
        "input_tokens": 103,
        "trunkline": {"estimated": True},
    }
    assert tokens(client, "prompted", input=SAY) == 103 + 104
    # Where an Idempotency-Key has no effect it does not matter what it is.
    assert tokens(client, "words-3", input=SAY, extra_headers={"Idempotency-Key": ""}) == 103


def test_all_that_is_read_counts(client: openai.OpenAI, system: System) -> None:
    system.upstream.reset()
    alone = tokens(client, "words-3", input=SAY)
    schema = {"type": "json_schema", "name": "s", "schema": {"type": "object"}}
    for more in (
        {"instructions": "Be brief."},
        {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": True},
        {"text": {"format": schema}},
    ):
        asked: Any = more
        assert tokens(client, "words-3", input=SAY, **asked) > alone
    assert tokens(client, "worker", input=SAY) > alone  # its own tools
    same = tokens(
        client,
        "words-3",
        input=SAY,
        personality="friendly",
        truncation="auto",
        reasoning={"effort": "low"},
    )
    assert same == alone
    assert not system.upstream.requests()  # nobody was asked


def test_what_it_follows_counts(client: openai.OpenAI) -> None:
    first = client.responses.create(model="words-3", input=SAY)
    alone = tokens(client, "words-3", input="and")
    followed = tokens(client, "words-3", input="and", previous_response_id=first.id)
    assert followed > alone + 100
    assert tokens(client, "words-3", previous_response_id=first.id) < followed
    with pytest.raises(openai.BadRequestError) as caught:
        tokens(client, "words-3", input="and", previous_response_id="resp_unknown")
    assert caught.value.code == "previous_response_not_found"


@pytest.mark.parametrize("named", ["body", "header"])
def test_a_conversation_counts_and_gets_no_turn(
    client: openai.OpenAI, system: System, named: str
) -> None:
    conversation = str(uuid4())
    header = {"X-Conversation-ID": conversation}
    where: Any = {"extra_headers": header} if named == "header" else {"conversation": conversation}
    with pytest.raises(openai.NotFoundError) as caught:
        tokens(client, "words-3", input="and", **where)
    assert caught.value.code == "conversation_not_found"
    client.responses.create(model="words-3", input=SAY, **where)
    once = tokens(client, "words-3", input="and", **where)
    assert once > 103
    assert tokens(client, "words-3", input="and", **where) == once
    if named == "body":
        assert tokens(client, "words-3", conversation={"id": conversation}) < once
        bob = client.with_options(api_key=KEYS[1])
        with pytest.raises(openai.NotFoundError):
            tokens(bob, "words-3", input="and", **where)
    url = f"{system.url()}/api/conversations/{conversation}"
    info = httpx.get(url, headers={"authorization": f"Bearer {KEYS[0]}"}).json()
    assert info["stats"]["usage_to_metrics"]["default"]["token_usages"][1:] == []


def test_a_call_that_a_conversation_waits_for_has_its_result(client: openai.OpenAI) -> None:
    conversation = str(uuid4())
    where: Any = {"model": "tools", "conversation": conversation}
    first = client.responses.create(input="In 'Oslo'?", tools=[WEATHER], **where)
    [call] = [item for item in first.output if item.type == "function_call"]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sun"}
    assert client.responses.input_tokens.count(input=[result], **where).input_tokens > 10
    with pytest.raises(openai.BadRequestError, match="waits for the result") as caught:
        client.responses.input_tokens.count(input="and", **where)
    assert caught.value.param == "input"


def test_a_compaction_counts_as_what_it_says(client: openai.OpenAI) -> None:
    loose = client.with_options()
    loose._strict_response_validation = False
    *_, item = loose.responses.compact(model="words-3", input=SAY).output
    assert 15 < tokens(client, "words-3", input=[item.to_dict()]) < 60


def test_a_bad_request_names_its_member(client: openai.OpenAI) -> None:
    for param, request in {
        "input": {},
        "input[0].content": {"input": [{"role": "user", "content": 1}]},
        "tool_choice": {"input": "hi", "tool_choice": "required"},
        "truncation": {"input": "hi", "truncation": "much"},
        "conversation": {"input": "hi", "conversation": "mine"},
    }.items():
        asked: Any = request
        with pytest.raises(openai.BadRequestError) as caught:
            tokens(client, "words-3", **asked)
        assert caught.value.param == param
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.input_tokens.count(input="hi")
    assert caught.value.param == "model"
