"""Webhooks of responses, from processes that are killed, to receivers that check signatures."""

import base64
import json
import os
import signal
from collections.abc import Iterator

import openai
import pytest
from standardwebhooks import Webhook as Verifier

from tests.fakes.system import System, upstream_agent
from tests.fakes.webhook_sink import Told, WebhookSink, beside
from tests.patience import waited

pytestmark = pytest.mark.redis
OLD, NEW = ("whsec_" + base64.b64encode(os.urandom(32)).decode() for _ in range(2))
MODELS = ("words-3", "length", "error-first", "slow-1000x20")


@pytest.fixture(scope="module")
def sink() -> Iterator[WebhookSink]:
    with beside() as sink:
        yield sink


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, sink: WebhookSink) -> Iterator[System]:
    hooks = {
        "response_webhooks": json.dumps([{"url": f"{sink.url}/openai", "secret": [NEW, OLD]}]),
        "webhooks": json.dumps([{"base_url": f"{sink.url}/openhands"}]),
    }
    agents = {model: upstream_agent(model) for model in MODELS}
    directory = tmp_path_factory.mktemp("hooks")
    with System(directory, {"agents": agents}, settings=hooks) as system:
        yield system


@pytest.fixture
def client(system: System) -> Iterator[openai.OpenAI]:
    api = len(system.apis) - 1
    with openai.OpenAI(
        base_url=system.base_url(api), api_key="none", max_retries=0, webhook_secret=OLD
    ) as client:
        yield client


def about(response: str, told: list[Told]) -> list[Told]:
    return [
        each
        for each in told
        if each.path == "/hooks/openai" and each.body["data"]["id"] == response
    ]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("words-3", "response.completed"),
        ("length", "response.incomplete"),
        ("error-first", "response.failed"),
        ("slow-1000x20", "response.cancelled"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_receiver_hears_how_a_response_in_the_background_ended(
    client: openai.OpenAI, sink: WebhookSink, model: str, kind: str, stream: bool
) -> None:
    begun = client.responses.create(model=model, input="go", background=True, stream=stream)
    response = next(begun).response.id if stream else begun.id
    if kind == "response.cancelled":
        client.responses.cancel(response)
    told = waited(lambda: about(response, sink.taken))[0]
    event = client.webhooks.unwrap(told.raw, told.headers)
    assert (event.type, event.data.id) == (kind, response)
    assert Verifier(NEW).verify(told.raw, told.headers) == told.body
    assert f"response.{client.responses.retrieve(event.data.id).status}" == kind


def test_nobody_hears_of_what_somebody_waited_for(client: openai.OpenAI, sink: WebhookSink) -> None:
    keyed = {"Idempotency-Key": "a key"}  # whose run goes on when nobody waits any more
    awaited = [
        client.responses.create(model="words-3", input="go", extra_headers=headers)
        for headers in ({}, keyed)
    ]
    later = client.responses.create(model="words-3", input="go", background=True)
    waited(lambda: about(later.id, sink.taken))
    assert [each for response in awaited for each in about(response.id, sink.asked)] == []


def test_a_turn_is_told_to_webhooks_of_both_kinds(client: openai.OpenAI, sink: WebhookSink) -> None:
    conversation = "0b5e7a52-7c1f-4d5f-9a6e-3f2c1d0e9b8a"
    begun = client.responses.create(
        model="words-3",
        input="go",
        background=True,
        extra_headers={"X-Conversation-ID": conversation},
    )
    waited(lambda: about(begun.id, sink.taken))
    waited(lambda: [told for told in sink.taken if told.path == "/hooks/openhands/conversations"])


def test_a_receiver_that_fails_twice_hears_it_all_the_same(
    client: openai.OpenAI, sink: WebhookSink
) -> None:
    answers = [500, 503]
    sink.answer = lambda told: answers.pop() if answers and told.path == "/hooks/openai" else 200
    begun = client.responses.create(model="words-3", input="go", background=True)
    waited(lambda: about(begun.id, sink.taken))
    asked = about(begun.id, sink.asked)
    assert len(asked) == 3
    assert len({told.headers["webhook-id"] for told in asked}) == 1
    assert [client.webhooks.unwrap(told.raw, told.headers).data.id for told in asked]


def test_a_process_that_is_killed_while_it_tells_loses_nothing(
    system: System, client: openai.OpenAI, sink: WebhookSink
) -> None:
    sink.answer = lambda told: None  # it hears, and does not answer
    begun = client.responses.create(model="words-3", input="go", background=True)
    waited(lambda: about(begun.id, sink.asked))
    system.kill_api(len(system.apis) - 1, signal.SIGKILL)
    sink.answer = lambda told: 200
    system.start_api()
    system.wait_ready()
    waited(lambda: about(begun.id, sink.taken))
    first, again = about(begun.id, sink.asked)
    assert first.headers["webhook-id"] == again.headers["webhook-id"] and first.raw == again.raw
    assert Verifier(OLD).verify(again.raw, again.headers)["type"] == "response.completed"
