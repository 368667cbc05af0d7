"""Responses that sum up what went before them where it is too long, over two API processes."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest

from tests.chaos import logs
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.conftest import KEYS

pytestmark = pytest.mark.redis
AGENTS: dict[str, Any] = {
    "words-3": upstream_agent("words-3"),
    "echo-request": upstream_agent("echo-request"),
    "length": upstream_agent("length"),
    "slow-60x50": upstream_agent("slow-60x50"),
    "tasked": upstream_agent("echo-request", toolsets=[{"type": "tasks"}]),
}
ABOVE: Any = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
LONG: list[Any] = [
    {"role": "system", "content": "Speak Norwegian."},
    {"role": "user", "content": "Where is my cat?"},
    {"role": "assistant", "content": "long " * 1000},
    {"role": "user", "content": "And my dog?"},
]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("management")
    settings = {"secret_key": "one for all", "upstream_retries": 0}
    with System(
        directory, {"agents": AGENTS}, apis=2, workers=2, settings=settings, api_keys=KEYS
    ) as system:
        yield system


def told(text: str) -> list[Any]:
    """The messages that an upstream repeats."""
    return [(each["role"], each["content"]) for each in json.loads(text)["messages"]]


def is_summary(message: Any) -> bool:
    return bool(message[1].startswith("[Summary of the earlier conversation"))


@pytest.mark.parametrize("model", ["echo-request", "tasked"])
def test_what_is_too_long_is_summed_up_and_then_answered(
    clients: list[openai.OpenAI], model: str
) -> None:
    reply = clients[0].responses.create(model=model, input=LONG, instructions="Be brief.", **ABOVE)
    assert [item.type for item in reply.output] == ["compaction", "message"]
    brief, system, cat, summary, dog = told(reply.output_text)
    assert [brief, system] == [("system", "Be brief."), ("system", "Speak Norwegian.")]
    assert [cat, dog] == [("user", "Where is my cat?"), ("user", "And my dog?")]
    assert is_summary(summary)
    assert ("tools" in json.loads(reply.output_text)) == (model == "tasked")
    assert "tools" not in json.loads(summary[1].split("\n", 1)[1].rsplit("\n", 1)[0])
    assert reply.usage is not None and reply.usage.output_tokens == 2  # of both
    found = clients[1].responses.retrieve(reply.id)
    assert found.output == reply.output


def test_what_is_short_is_not(clients: list[openai.OpenAI]) -> None:
    reply = clients[0].responses.create(model="words-3", input=LONG[:2], **ABOVE)
    assert [item.type for item in reply.output] == ["message"]
    alone = clients[0].responses.create(
        model="words-3", input=[{"role": "user", "content": "long " * 1000}], **ABOVE
    )
    assert [item.type for item in alone.output] == ["message"]  # nothing but the question


def test_a_stream_tells_the_item_first(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    with here.responses.stream(model="words-3", input=LONG, **ABOVE) as stream:
        events = [*stream]
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert [event.type for event in events[:5]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_item.added",
    ]
    assert (final.output[0].type, final.output_text) == ("compaction", words(3))
    again = [*there.responses.retrieve(final.id, stream=True)]
    assert again[3].type == "response.output_item.done" and again[3].item == final.output[0]


def test_what_follows_is_told_the_summary_alone(clients: list[openai.OpenAI]) -> None:
    here, there, bob = clients
    first = here.responses.create(model="words-3", input=LONG, **ABOVE)
    second = there.responses.create(
        model="echo-request", input="Thanks", previous_response_id=first.id, **ABOVE
    )
    assert [item.type for item in second.output] == ["message"]  # it is short by now
    system, cat, summary, dog, answer, thanks = told(second.output_text)
    assert is_summary(summary) and (system[1], cat[1]) == ("Speak Norwegian.", "Where is my cat?")
    assert [dog, answer, thanks] == [
        ("user", "And my dog?"),
        ("assistant", words(3)),
        ("user", "Thanks"),
    ]
    # Who sends all of it himself is understood alike, and so is who leaves out what came before.
    output: list[Any] = [item.to_dict() for item in first.output]
    more = [*output, {"role": "user", "content": "Thanks"}]
    for sent in ([*LONG, *more], more):
        reply = here.responses.create(model="echo-request", input=sent)
        assert told(reply.output_text) == told(second.output_text)
    with pytest.raises(openai.BadRequestError) as caught:
        bob.responses.create(model="words-3", input=more)
    assert caught.value.param == "input[0].encrypted_content"


def test_a_conversation_goes_on_from_the_summary(
    system: System, clients: list[openai.OpenAI]
) -> None:
    header = {"X-Conversation-ID": str(uuid4())}
    here, there, _ = clients
    here.responses.create(model="words-3", input=LONG, extra_headers=header, **ABOVE)
    reply = there.responses.create(model="echo-request", input="Thanks", extra_headers=header)
    norwegian, cat, summary, dog, *rest = told(reply.output_text)
    assert is_summary(summary) and (norwegian[1], cat[1]) == (
        "Speak Norwegian.",
        "Where is my cat?",
    )
    assert [dog, *rest] == [("user", "And my dog?"), ("assistant", words(3)), ("user", "Thanks")]
    url = f"{system.url()}/api/conversations/{header['X-Conversation-ID']}/events/search"
    told_of = httpx.get(url, headers={"authorization": f"Bearer {KEYS[0]}"})
    assert told_of.status_code == 200 and "w0 w1 w2" in told_of.text
    counted = here.responses.input_tokens.count(
        model="words-3", input="Thanks", extra_headers=header
    )
    assert counted.input_tokens < 200


def test_a_conversation_can_begin_with_a_summary(clients: list[openai.OpenAI]) -> None:
    here, there, bob = clients
    summed = here.responses.create(model="words-3", input=LONG, **ABOVE).output[0]
    items: Any = [LONG[2], summed.to_dict()]
    begun = here.conversations.create(items=items)
    reply = there.responses.create(model="echo-request", input="Thanks", conversation=begun.id)
    norwegian, cat, summary, dog, thanks = told(reply.output_text)
    assert (norwegian[1], cat[1]) == ("Speak Norwegian.", "Where is my cat?")
    assert is_summary(summary) and [dog[1], thanks[1]] == ["And my dog?", "Thanks"]
    with pytest.raises(openai.BadRequestError) as caught:  # all runs in it would fail
        bob.conversations.create(items=items)
    assert caught.value.param == "items[1].encrypted_content"


def test_it_works_in_the_background_too(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    events = [
        *here.responses.create(model="words-3", input=LONG, background=True, stream=True, **ABOVE)
    ]
    end = events[-1]
    assert end.type == "response.completed"
    assert [item.type for item in end.response.output] == ["compaction", "message"]
    assert there.responses.retrieve(end.response.id).output == end.response.output


def test_long_instructions_stay_whole(clients: list[openai.OpenAI]) -> None:
    rules = {"role": "system", "content": "rule " * 60_000}
    reply = clients[0].responses.create(model="echo-request", input=[rules, *LONG], **ABOVE)
    assert told(reply.output_text)[0] == ("system", rules["content"])
    assert clients[1].responses.retrieve(reply.id).output == reply.output


def test_a_run_whose_worker_dies_goes_on_with_the_same_summary(
    system: System, clients: list[openai.OpenAI]
) -> None:
    system.upstream.reset()
    asked: Any = {"model": "slow-60x50", "input": LONG, "background": True, "stream": True}
    stream = clients[0].responses.create(**asked, **ABOVE)
    seen = [next(stream) for _ in range(12)]
    assert seen[0].type == "response.created"
    run_id = seen[0].response.id.removeprefix("resp_")
    with system.redis.client() as redis:
        owner = redis.hget(logs.KEYS.run(run_id), "owner").decode()
        system.kill_worker([logs.worker_id(each) for each in system.workers].index(owner))
        system.start_worker()
        seen += stream
    assert [event.sequence_number for event in seen] == [*range(len(seen))]
    final = seen[-1]
    assert final.type == "response.completed"
    kinds = [(item.type, getattr(item, "status", None)) for item in final.response.output]
    assert kinds == [("compaction", None), ("message", "incomplete"), ("message", "completed")]
    bodies = [each["body"]["messages"] for each in system.upstream.requests()]
    assert len(bodies) == 3 and bodies[1] == bodies[2]  # one summary, and two answers


def test_half_a_summary_is_an_error(clients: list[openai.OpenAI]) -> None:
    with pytest.raises(openai.InternalServerError, match="did not end the summary"):
        clients[0].responses.create(model="length", input=LONG, **ABOVE)


def test_what_cannot_be_asked_is_refused_by_name(clients: list[openai.OpenAI]) -> None:
    entry = {"type": "compaction", "compact_threshold": 1000}
    bad: dict[str, Any] = {
        "context_management": [entry, entry],
        "context_management[0].type": [{**entry, "type": "other"}],
        "context_management[0].compact_threshold": [{**entry, "compact_threshold": 5}],
    }
    for param, value in bad.items():
        with pytest.raises(openai.BadRequestError) as caught:
            clients[0].responses.create(model="words-3", input="hi", context_management=value)
        assert caught.value.param == param


TRIGGER: Any = {"type": "compaction_trigger"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_trigger_asks_for_the_summary_alone(clients: list[openai.OpenAI], stream: bool) -> None:
    here, there, _ = clients
    asked: Any = {"model": "words-3", "input": [*LONG, TRIGGER]}
    if stream:
        with here.responses.stream(**asked) as events:
            reply: Any = events.get_final_response()
    else:
        reply = here.responses.create(**asked)
    assert ([item.type for item in reply.output], reply.status) == (["compaction"], "completed")
    assert reply.usage.output_tokens == 3
    followed = there.responses.create(
        model="echo-request", input="Thanks", previous_response_id=reply.id
    )
    system, cat, dog, summary, thanks = told(followed.output_text)
    assert (system[1], cat[1], dog[1]) == ("Speak Norwegian.", "Where is my cat?", "And my dog?")
    assert is_summary(summary) and thanks == ("user", "Thanks")
    listed = there.responses.input_items.list(reply.id).data
    assert [item.type for item in listed] == ["message"] * 4


def test_a_conversation_is_compacted_by_a_trigger_alone(clients: list[openai.OpenAI]) -> None:
    header = {"X-Conversation-ID": str(uuid4())}
    here, there, _ = clients
    here.responses.create(model="words-3", input="one", extra_headers=header)
    here.responses.create(model="words-3", input=[TRIGGER], extra_headers=header)
    reply = there.responses.create(model="echo-request", input="two", extra_headers=header)
    one, summary, two = told(reply.output_text)
    assert (one, two) == (("user", "one"), ("user", "two")) and is_summary(summary)


def test_a_trigger_stands_at_the_end_of_something(clients: list[openai.OpenAI]) -> None:
    for sent, param in (([TRIGGER, LONG[1]], "input[0]"), ([TRIGGER], "input")):
        with pytest.raises(openai.BadRequestError) as caught:
            clients[0].responses.create(model="words-3", input=sent)
        assert caught.value.param == param
