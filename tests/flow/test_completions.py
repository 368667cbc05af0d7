"""Stored chat completions over two API processes: found, listed, renamed, forgotten."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.conftest import KEYS

pytestmark = pytest.mark.redis
AGENTS = {
    name: upstream_agent(name) for name in ("words-1", "words-3", "slow-1000x20", "error-first")
}
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture
def strict() -> bool:
    return False  # openai-python knows no messages but the assistant's in lists of them


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("completions")
    settings = {"secret_key": "one for all", "upstream_retries": 0}
    with System(directory, {"agents": AGENTS}, apis=2, settings=settings, api_keys=KEYS) as system:
        yield system


@pytest.fixture(autouse=True)
def emptied(clients: list[openai.OpenAI]) -> None:
    for client in clients[1:]:
        for each in client.chat.completions.list(limit=100):
            client.chat.completions.delete(each.id)


def ask(client: openai.OpenAI, model: str = "words-1", **about: Any) -> ChatCompletion:
    completion: ChatCompletion = client.chat.completions.create(
        model=model, **{"messages": HELLO, "store": True, **about}
    )
    return completion


def ids(found: Any) -> list[str]:
    return [each.id for each in found]


def test_a_completion_is_found_at_another_process_as_it_was_replied(
    clients: list[openai.OpenAI],
) -> None:
    here, there, _ = clients
    replied = ask(here, "words-3", metadata={"team": "a"})
    assert replied.to_dict()["metadata"] == {"team": "a"}
    found = there.chat.completions.retrieve(replied.id)
    assert found.to_dict() == replied.to_dict()
    assert found.choices[0].message.content == words(3)
    assert ids(there.chat.completions.list()) == [replied.id]


def test_a_streamed_one_is_found_whole(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    about: Any = {"model": "words-3", "messages": HELLO, "store": True, "stream": True}
    chunks = list(here.chat.completions.create(**about))
    (found,) = there.chat.completions.list()
    assert found.id == chunks[0].id and found.created == chunks[0].created
    assert found.choices[0].message.content == words(3)
    assert found.usage is not None and found.to_dict()["metadata"] == {}


def test_only_what_is_stored_and_ended_well_is_there(
    system: System, clients: list[openai.OpenAI]
) -> None:
    client = clients[0]
    plain = ask(client, store=None, metadata={"a": "b"})
    assert "metadata" not in plain.to_dict()
    with pytest.raises(openai.APIStatusError):
        ask(client, "error-first")
    about: Any = {"model": "slow-1000x20", "messages": HELLO, "store": True, "stream": True}
    with client.chat.completions.create(**about) as stream:
        running = next(iter(stream)).id
        assert ids(client.chat.completions.list()) == []
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(running)
    system.upstream.until(lambda upstream: len(upstream.closed()) > 0)
    for missing in (plain.id, running, "chatcmpl-x", f"chatcmpl-{'a' * 28}"):
        for asking in (client.chat.completions.retrieve, client.chat.completions.delete):
            with pytest.raises(openai.NotFoundError) as caught:
                asking(missing)
            assert caught.value.code == "completion_not_found"
    assert ids(client.chat.completions.list()) == []


def test_others_find_and_change_nothing(clients: list[openai.OpenAI]) -> None:
    ana, _, bob = clients
    mine = ask(ana, metadata={"a": "b"}).id
    for asking in (
        bob.chat.completions.retrieve,
        bob.chat.completions.delete,
        lambda each: bob.chat.completions.update(each, metadata={}),
        bob.chat.completions.messages.list,
    ):
        with pytest.raises(openai.NotFoundError):
            asking(mine)
    assert ids(bob.chat.completions.list(metadata={"a": "b"}, model="words-1")) == []
    assert ids(bob.chat.completions.list(after=mine)) == []
    assert ana.chat.completions.retrieve(mine).to_dict()["metadata"] == {"a": "b"}


def test_completions_and_responses_are_apart(clients: list[openai.OpenAI]) -> None:
    client = clients[0]
    completion, response = ask(client), client.responses.create(model="words-1", input="hello")
    run, other = completion.id.removeprefix("chatcmpl-"), response.id.removeprefix("resp_")
    for name in (completion.id, f"resp_{run}"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(name)
        with pytest.raises(openai.NotFoundError):
            client.responses.delete(name)
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model="words-1", input="x", previous_response_id=name)
    for name in (response.id, f"chatcmpl-{other}"):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.retrieve(name)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.delete(name)
    assert ids(client.chat.completions.list()) == [completion.id]
    assert client.responses.retrieve(response.id).id == response.id


def test_a_list_has_pages_both_ways(clients: list[openai.OpenAI]) -> None:
    client = clients[0]
    made = [ask(client).id for _ in range(5)]
    assert ids(client.chat.completions.list(limit=2)) == made  # pages are turned
    assert ids(client.chat.completions.list(limit=2, order="desc")) == made[::-1]
    first = client.chat.completions.list(limit=2)
    assert (ids(first.data), first.has_more) == (made[:2], True)
    assert (first.to_dict()["first_id"], first.to_dict()["last_id"]) == (made[0], made[1])
    last = client.chat.completions.list(limit=2, after=made[2])
    assert (ids(last.data), last.has_more) == (made[3:], False)
    back = client.chat.completions.list(limit=2, after=made[2], order="desc")
    assert (ids(back.data), back.has_more) == (made[1::-1], False)


def test_whoever_deletes_while_turning_pages_meets_all(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    made = [ask(here).id for _ in range(5)]
    met = []
    for each in there.chat.completions.list(limit=2):
        assert there.chat.completions.delete(each.id).deleted
        met.append(each.id)
    assert met == made
    assert ids(here.chat.completions.list()) == []


def test_a_list_is_of_a_model_and_of_pairs_of_metadata(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    one = ask(here, metadata={"team": "a", "äö &=[]": "x y"}).id
    two = ask(here, "words-3", metadata={"team": "a"}).id
    three = ask(here, "words-3", metadata={"team": "b"}).id
    listed = there.chat.completions.list
    assert ids(listed(model="words-3")) == [two, three]
    assert ids(listed(metadata={"team": "a"})) == [one, two]
    assert ids(listed(metadata={"team": "a", "äö &=[]": "x y"})) == [one]
    assert ids(listed(metadata={"team": "a"}, model="words-3", order="desc")) == [two]
    assert ids(listed(metadata={"team": "c"})) == []
    assert ids(listed(model="nothing")) == []


def test_other_metadata_replace_all_there_were(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    made = ask(here, metadata={"team": "a", "state": "new"})
    changed = there.chat.completions.update(made.id, metadata={"state": "new", "seen": "yes"})
    assert changed.to_dict() == {**made.to_dict(), "metadata": {"state": "new", "seen": "yes"}}
    assert here.chat.completions.retrieve(made.id).to_dict() == changed.to_dict()
    listed = here.chat.completions.list
    assert ids(listed(metadata={"team": "a"})) == []
    assert ids(listed(metadata={"state": "new"})) == [made.id]
    assert ids(listed(metadata={"seen": "yes"}, model="words-1")) == [made.id]
    cleared = here.chat.completions.update(made.id, metadata=None)
    assert cleared.to_dict()["metadata"] == {}
    assert ids(listed(metadata={"state": "new"})) == []


def test_its_messages_are_told_as_they_were_sent(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    parts = [{"type": "text", "text": "what is this?"}, image]
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "look", "name": "ana"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "user", "content": parts},
    ]
    made = ask(here, messages=messages)
    # The client's type knows no role but 'assistant'.
    there = there.copy(_extra_kwargs={"_strict_response_validation": False})
    told = [each.to_dict() for each in there.chat.completions.messages.list(made.id, limit=2)]
    assert [each["id"] for each in told] == [f"{made.id}-{number}" for number in range(5)]
    assert [each["role"] for each in told] == [each["role"] for each in messages]
    assert [each["content"] for each in told] == ["Be brief.", "look", None, "a cat", None]
    assert [each["content_parts"] for each in told] == [None, None, None, None, parts]
    assert told[1]["name"] == "ana" and told[2]["tool_calls"] == [call]
    last = there.chat.completions.messages.list(made.id, order="desc", limit=1).data
    assert ids(last) == [f"{made.id}-4"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("order=up", "order"),
        ("after=nothing", "after"),
        ("metadata=a", "metadata"),
        ("metadata[a]=1&metadata[a]=2", "metadata[a]"),
        ("&".join(f"metadata[{n}]=1" for n in range(17)), "metadata"),
    ],
)
def test_a_query_that_nothing_can_answer_is_refused(system: System, query: str, param: str) -> None:
    url = f"{system.base_url()}/chat/completions?{query}"
    reply = httpx.get(url, headers={"authorization": f"Bearer {KEYS[0]}"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [("{}", "metadata"), ('{"metadata": {"a": 1}}', "metadata"), ("[]", None), ("", "metadata")],
)
def test_a_change_without_metadata_is_refused(
    system: System, clients: list[openai.OpenAI], body: str, param: str | None
) -> None:
    url = f"{system.base_url()}/chat/completions/{ask(clients[0]).id}"
    reply = httpx.post(url, content=body, headers={"authorization": f"Bearer {KEYS[0]}"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_nothing_of_it_lies_in_clear(system: System, clients: list[openai.OpenAI]) -> None:
    made = ask(clients[0], "words-3", metadata={"planted-key": "planted-value"}, messages=HELLO).id
    run_id = made.removeprefix("chatcmpl-")
    with system.redis.client() as redis:
        keys = list(redis.scan_iter(count=1000))
        assert not [key for key in keys if b"planted" in key]
        kept = [redis.get(key) for key in keys if key.endswith(run_id.encode()) and b":re" in key]
    assert len(kept) == 2
    assert not any(b"hello" in value or b"planted" in value for value in kept)


def test_the_reference_tells_how_to_ask_and_how_to_list(system: System) -> None:
    paths = httpx.get(f"{system.url()}/openapi.json").json()["paths"]
    path = "/v1/chat/completions"
    assert paths[path].keys() == {"get", "post"}
    assert "metadata" in [each["name"] for each in paths[path]["get"]["parameters"]]
    assert paths[path + "/{completion_id}"].keys() == {"get", "post", "delete"}
    assert "requestBody" in paths[path + "/{completion_id}"]["post"]
