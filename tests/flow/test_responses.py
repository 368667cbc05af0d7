"""Responses over two API processes and two workers: stored, followed, and without their worker."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai.types import responses

from tests.chaos import logs
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.conftest import KEYS

pytestmark = pytest.mark.redis
AGENTS = {
    name: upstream_agent(name)
    for name in ("words-3", "words-500", "slow-100x50", "slow-1000x20", "echo-request")
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("responses")
    settings = {"secret_key": "one for all"}
    with System(
        directory, {"agents": AGENTS}, apis=2, workers=2, settings=settings, api_keys=KEYS
    ) as system:
        yield system


def test_a_response_is_found_followed_and_deleted_at_another_process(
    clients: list[openai.OpenAI],
) -> None:
    here, there, _ = clients
    first = here.responses.create(model="words-3", input="one")
    found = there.responses.retrieve(first.id)
    assert found.output == first.output
    second = there.responses.create(
        model="echo-request", input="two", previous_response_id=first.id
    )
    sent = json.loads(second.output_text)["messages"]
    assert [message["content"] for message in sent] == ["one", words(3), "two"]
    there.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        here.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        here.responses.create(model="words-3", input="three", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"


def test_others_find_and_follow_nothing(clients: list[openai.OpenAI]) -> None:
    ana, _, bob = clients
    response = ana.responses.create(model="words-3", input="one").id
    for asking in (bob.responses.retrieve, bob.responses.delete):
        with pytest.raises(openai.NotFoundError):
            asking(response)
    with pytest.raises(openai.BadRequestError, match="not found"):
        bob.responses.create(model="words-3", input="two", previous_response_id=response)
    assert ana.responses.retrieve(response).status == "completed"


def test_nothing_of_what_is_stored_lies_in_clear(
    system: System, clients: list[openai.OpenAI]
) -> None:
    response = clients[0].responses.create(model="words-500", input="a secret").id
    run_id = response.removeprefix("resp_")
    with system.redis.client() as redis:
        for key in (logs.KEYS.record(run_id), logs.KEYS.result(run_id)):
            value = redis.get(key)
            assert value and b"secret" not in value and b"w499" not in value


def test_in_a_conversation_the_history_goes_on_without_the_instructions(
    clients: list[openai.OpenAI],
) -> None:
    about: Any = {"extra_headers": {"X-Conversation-ID": str(uuid4())}}
    first = clients[0].responses.create(
        model="words-3", input="one", instructions="Shout.", **about
    )
    second = clients[1].responses.create(
        model="echo-request", input="two", instructions="Whisper.", **about
    )
    sent = json.loads(second.output_text)["messages"]
    assert [message["content"] for message in sent] == ["Whisper.", "one", words(3), "two"]
    with pytest.raises(openai.BadRequestError) as caught:
        clients[0].responses.create(
            model="words-3", input="x", previous_response_id=first.id, **about
        )
    assert caught.value.param == "previous_response_id"


def test_whoever_leaves_finds_a_cancelled_response(
    system: System, clients: list[openai.OpenAI]
) -> None:
    with clients[0].responses.create(model="slow-1000x20", input="x", stream=True) as stream:
        first = next(iter(stream))
        assert first.type == "response.created"
        running = clients[1].responses.retrieve(first.response.id)
        assert (running.status, running.output) == ("in_progress", [])
    system.upstream.until(lambda upstream: len(upstream.closed()) > 0)
    found = clients[1].responses.retrieve(first.response.id)
    while found.status == "in_progress":
        found = clients[1].responses.retrieve(first.response.id)
    assert (found.status, found.error) == ("cancelled", None)


def test_a_stream_goes_on_with_a_new_item_when_its_worker_dies(
    system: System, clients: list[openai.OpenAI]
) -> None:
    # The client's helper raises on whatever breaks the rules of the event sequence.
    with clients[0].responses.stream(model="slow-100x50", input="x") as stream:
        events: list[Any] = []
        for event in stream:
            events.append(event)
            shown = [each for each in events if each.type == "response.output_text.delta"]
            if event in shown and len(shown) == 20:
                _kill_owner(system, events[0].response)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    broken, whole = _told(final)
    assert (broken[1], whole[1:]) == ("incomplete", ("completed", words(100), "final_answer"))
    assert broken[3] is None
    assert broken[2].startswith(words(20))
    assert _told(clients[1].responses.retrieve(final.id)) == [broken, whole]


def _told(response: responses.Response) -> list[tuple[str, str, str, str | None]]:
    """Id, status, text and phase of each message."""
    messages: list[Any] = response.output
    return [(item.id, item.status, item.content[0].text, item.phase) for item in messages]


def _kill_owner(system: System, response: responses.Response) -> None:
    workers = {logs.worker_id(worker): index for index, worker in enumerate(system.workers)}
    with system.redis.client() as redis:
        owner = redis.hget(logs.KEYS.run(response.id.removeprefix("resp_")), "owner")
    system.kill_worker(workers[(owner or b"").decode()])
