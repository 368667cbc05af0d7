"""Conversations over two API processes and two workers, some of which end."""

import signal
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.conftest import KEYS
from tests.flow.test_background import _owner
from tests.patience import waited

pytestmark = pytest.mark.redis
LONG = "slow-60x50"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("conversations")
    agents: dict[str, Any] = {model: upstream_agent(model) for model in ("words-3", LONG)}
    settings = {"secret_key": "a secret key of thirty-two bytes"}
    config = {"agents": agents}
    with System(directory, config, apis=2, workers=2, api_keys=KEYS, settings=settings) as system:
        yield system


def test_a_conversation_is_nobodys_but_its_keys(clients: list[openai.OpenAI]) -> None:
    ana, _, bob = clients
    made = ana.conversations.create(items=[{"role": "user", "content": "mine"}])
    [item] = ana.conversations.items.list(made.id)
    about: Any = {"conversation_id": made.id}
    calls: list[Any] = [
        lambda: bob.conversations.retrieve(made.id),
        lambda: bob.conversations.update(made.id, metadata={}),
        lambda: bob.conversations.delete(made.id),
        lambda: bob.conversations.items.list(made.id),
        lambda: bob.conversations.items.create(made.id, items=[{"role": "user", "content": "his"}]),
        lambda: bob.conversations.items.retrieve(str(item.id), **about),
        lambda: bob.conversations.items.delete(str(item.id), **about),
        lambda: bob.responses.create(model="words-3", input="x", conversation=made.id),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError) as caught:
            call()
        assert caught.value.code == "conversation_not_found"
    other = bob.conversations.create()
    with pytest.raises(openai.NotFoundError):
        bob.conversations.items.retrieve(str(item.id), conversation_id=other.id)
    assert [*ana.conversations.items.list(made.id)] == [item]


def test_what_is_stored_is_sealed(system: System, clients: list[openai.OpenAI]) -> None:
    ana = clients[0]
    made = ana.conversations.create(
        metadata={"note": "mysecret"}, items=[{"role": "user", "content": "mysecret"}]
    )
    ana.responses.create(model="words-3", input="mysecret", conversation=made.id, store=False)
    with system.redis.client() as redis:
        found = [key for key in redis.scan_iter() if b"mysecret" in redis.dump(key)]
    assert found == []
    assert ana.conversations.retrieve(made.id).metadata == {"note": "mysecret"}


def test_a_run_whose_worker_dies_adds_its_items_once(
    system: System, clients: list[openai.OpenAI]
) -> None:
    ana, elsewhere, _ = clients
    made = ana.conversations.create()
    stream = ana.responses.create(
        model=LONG, input="go", conversation=made.id, background=True, stream=True
    )
    seen = [next(stream) for _ in range(12)]
    assert seen[0].type == "response.created"
    with system.redis.client() as redis:
        system.kill_worker(_owner(system, redis, seen[0].response.id.removeprefix("resp_")))
    system.start_worker()
    seen += stream
    final = seen[-1]
    assert final.type == "response.completed"
    cut, whole = final.response.output
    items = [*elsewhere.conversations.items.list(made.id, order="asc")]
    assert [item.id for item in items[1:]] == [whole.id] and cut.id != whole.id
    system.wait_ready()


def test_a_conversation_outlives_the_api_process_that_made_it(
    system: System, clients: list[openai.OpenAI]
) -> None:
    ana, elsewhere, _ = clients
    made = ana.conversations.create(items=[{"role": "user", "content": "one"}])
    begun = ana.responses.create(model=LONG, input="go", conversation=made.id, background=True)
    system.kill_api(0, signal.SIGKILL)
    waited(lambda: elsewhere.responses.retrieve(begun.id).status == "completed")
    items: list[Any] = [*elsewhere.conversations.items.list(made.id, order="asc")]
    texts = ["".join(part.text for part in item.content) for item in items]
    assert texts == ["one", "go", words(60)]
    assert elsewhere.conversations.retrieve(made.id) == made
    system.start_api()
    system.wait_ready()
    with openai.OpenAI(base_url=system.base_url(2), api_key=KEYS[0]) as fresh:
        assert [*fresh.conversations.items.list(made.id, order="asc")] == items
