"""Responses in the background, over two API processes and two workers."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest

from tests.chaos import logs
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.conftest import KEYS
from tests.patience import PATIENCE_S, waited

pytestmark = pytest.mark.redis
AGENTS = {
    name: upstream_agent(name) for name in ("words-3", "slow-60x50", "slow-1000x20", "error-first")
}
BACKGROUND: dict[str, Any] = {"input": "go", "background": True}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("background")
    with System(directory, {"agents": AGENTS}, apis=2, workers=2, api_keys=KEYS) as system:
        yield system


def test_a_response_is_queued_at_once_and_found_when_it_has_ended(
    clients: list[openai.OpenAI],
) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="slow-60x50", **BACKGROUND)
    assert (begun.status, begun.background, begun.output) == ("queued", True, [])
    waited(lambda: there.responses.retrieve(begun.id).status == "in_progress")
    waited(lambda: there.responses.retrieve(begun.id).status == "completed")
    found = there.responses.retrieve(begun.id)
    assert found.output_text == words(60) and found.background
    assert found.usage is not None and found.usage.output_tokens == 60


def test_its_failure_is_found_too(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="error-first", **BACKGROUND)
    waited(lambda: there.responses.retrieve(begun.id).status == "failed")
    events = [*there.responses.retrieve(begun.id, stream=True)]
    assert [event.type for event in events] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.failed",
    ]


def test_a_stream_that_its_client_leaves_is_resumed_at_another_process(
    clients: list[openai.OpenAI],
) -> None:
    here, there, _ = clients
    seen = []
    with here.responses.create(model="slow-60x50", stream=True, **BACKGROUND) as stream:
        for event in stream:
            seen.append(event)
            if len(seen) == 20:
                break
    assert seen[0].type == "response.created" and seen[0].response.status == "queued"
    response = seen[0].response.id
    assert there.responses.retrieve(response).status == "in_progress"
    seen += there.responses.retrieve(response, stream=True, starting_after=19)
    assert [event.sequence_number for event in seen] == [*range(len(seen))]
    deltas = [event.delta for event in seen if event.type == "response.output_text.delta"]
    assert "".join(deltas) == words(60)
    assert seen[-1].type == "response.completed"
    assert seen[-1].response == here.responses.retrieve(response)
    again = [*here.responses.retrieve(response, stream=True)]
    assert again == seen


def test_the_helper_of_the_client_resumes(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="slow-60x50", **BACKGROUND)
    with there.responses.stream(response_id=begun.id, starting_after=5) as stream:
        events = [*stream]
        final = stream.get_final_response()
    assert final.output_text == words(60)
    assert events[0].sequence_number == 6


def test_several_readers_are_told_the_same_bytes(system: System) -> None:
    headers = {"authorization": f"Bearer {KEYS[0]}"}
    with httpx.Client(headers=headers, timeout=PATIENCE_S) as http, ExitStack() as stack:
        body = {"model": "slow-60x50", **BACKGROUND}
        begun = http.post(f"{system.base_url()}/responses", json=body).json()["id"]
        urls = [f"{system.base_url(api)}/responses/{begun}?stream=true" for api in (0, 1, 0, 1)]
        replies = [stack.enter_context(http.stream("GET", url)) for url in urls]
        told = {_without_comments(reply.read()) for reply in replies}
        assert len(told) == 1
        assert {_without_comments(http.get(url).content) for url in urls} == told
        tail = _without_comments(http.get(f"{urls[0]}&starting_after=30").content)
        (whole,) = told
        assert whole.endswith(tail) and b'"sequence_number":31' in tail.split(b"\n\n")[0]


def _without_comments(body: bytes) -> bytes:
    return b"".join(part + b"\n\n" for part in body.split(b"\n\n") if part and part[:1] != b":")


def test_a_run_whose_worker_dies_goes_on_for_its_readers(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="slow-60x50", **BACKGROUND)
    run_id = begun.id.removeprefix("resp_")
    with system.redis.client() as redis:
        stream = there.responses.retrieve(begun.id, stream=True)
        seen = [next(stream) for _ in range(12)]
        owner = _owner(system, redis, run_id)
        system.kill_worker(owner)
        system.start_worker()
        seen += stream
        assert len(logs.attempts(redis, run_id)) == 2
    assert [event.sequence_number for event in seen] == [*range(len(seen))]
    final = seen[-1]
    assert final.type == "response.completed"
    assert [item.status for item in final.response.output] == ["incomplete", "completed"]
    assert final.response.output[1].content[0].text == words(60)
    assert [*here.responses.retrieve(begun.id, stream=True)] == seen
    assert here.responses.retrieve(begun.id) == final.response


def test_a_worker_that_shuts_down_hands_it_on(system: System, clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    stream = here.responses.create(model="slow-1000x20", stream=True, **BACKGROUND)
    seen = [next(stream) for _ in range(12)]
    assert seen[0].type == "response.created"
    response = seen[0].response.id
    with system.redis.client() as redis:
        owner = _owner(system, redis, response.removeprefix("resp_"))
        system.start_worker()
        system.wait_ready()
        system.kill_worker(owner, signal.SIGTERM)
        opened = (event for event in stream if event.type == "response.output_item.added")
        assert next(opened).output_index == 1
    there.responses.cancel(response)


def test_what_nobody_read_is_said_once_when_its_worker_dies(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="slow-60x50", **BACKGROUND)
    run_id = begun.id.removeprefix("resp_")
    with system.redis.client() as redis:
        waited(lambda: len([*logs.texts(redis, run_id)]) > 5)
        system.kill_worker(_owner(system, redis, run_id), signal.SIGKILL)
        system.start_worker()
        waited(lambda: len(logs.attempts(redis, run_id)) == 2)
    seen = [*there.responses.retrieve(begun.id, stream=True)]
    assert [event.sequence_number for event in seen] == [*range(len(seen))]
    deltas = [event.delta for event in seen if event.type == "response.output_text.delta"]
    assert "".join(deltas) == words(60)
    assert here.responses.retrieve(begun.id) == seen[-1].response


def _owner(system: System, redis: Any, run_id: str) -> int:
    """The number of the worker that has the run."""
    owner = redis.hget(logs.KEYS.run(run_id), "owner").decode()
    return [logs.worker_id(each) for each in system.workers].index(owner)


def test_a_response_is_cancelled_again_and_again(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, bob = clients
    begun = here.responses.create(model="slow-1000x20", **BACKGROUND)
    stream = there.responses.retrieve(begun.id, stream=True)
    seen = [next(stream) for _ in range(10)]
    with pytest.raises(openai.NotFoundError):
        bob.responses.cancel(begun.id)
    began = time.monotonic()
    cancelled = there.responses.cancel(begun.id)
    assert time.monotonic() - began < 4  # 250 ms on a machine that has time
    assert cancelled.status == "cancelled" and words(1000).startswith(cancelled.output_text)
    seen += stream
    assert seen[-1].response.status == "cancelled"
    assert here.responses.cancel(begun.id) == cancelled == there.responses.retrieve(begun.id)


def test_what_is_deleted_is_cancelled(system: System, clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="slow-1000x20", **BACKGROUND)
    there.responses.delete(begun.id)
    with system.redis.client() as redis:
        state = redis.hgetall(logs.KEYS.run(begun.id.removeprefix("resp_")))
    assert (state[b"st"], state[b"out"]) == (b"done", b"cancelled")
    with pytest.raises(openai.NotFoundError):
        here.responses.retrieve(begun.id)


def test_what_has_ended_stays_as_it_is(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    begun = here.responses.create(model="words-3", **BACKGROUND)
    waited(lambda: there.responses.retrieve(begun.id).status == "completed")
    assert there.responses.cancel(begun.id).status == "completed"


def test_only_what_runs_in_the_background_is_cancelled(clients: list[openai.OpenAI]) -> None:
    here, *_ = clients
    whole = here.responses.create(model="words-3", input="go")
    with pytest.raises(openai.BadRequestError, match="background"):
        here.responses.cancel(whole.id)
    with pytest.raises(openai.NotFoundError):
        here.responses.cancel("resp_unknown")


def test_without_its_log_a_stream_is_made_of_the_result(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, bob = clients
    whole = here.responses.create(model="words-3", input="go")
    with system.redis.client() as redis:
        redis.delete(logs.KEYS.log(whole.id.removeprefix("resp_")))
    with there.responses.stream(response_id=whole.id) as stream:
        assert stream.get_final_response().output_text == words(3)
    events = [*there.responses.retrieve(whole.id, stream=True)]
    assert len([event for event in events if event.type == "response.output_text.delta"]) == 1
    assert events[-1].response == whole
    with pytest.raises(openai.BadRequestError) as caught:
        there.responses.retrieve(whole.id, stream=True, starting_after=2)
    assert caught.value.code == "stream_cursor_expired"
    with pytest.raises(openai.NotFoundError):
        bob.responses.retrieve(whole.id, stream=True)


def test_a_stream_in_the_foreground_has_a_second_reader(clients: list[openai.OpenAI]) -> None:
    here, there, _ = clients
    stream = here.responses.create(model="slow-60x50", input="go", stream=True)
    seen = [next(stream)]
    second = there.responses.retrieve(seen[0].response.id, stream=True)
    seen += stream
    assert [*second] == seen


def test_what_is_not_kept_cannot_run_in_the_background(clients: list[openai.OpenAI]) -> None:
    here, *_ = clients
    with pytest.raises(openai.BadRequestError) as caught:
        here.responses.create(model="words-3", store=False, **BACKGROUND)
    assert caught.value.param == "background"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("stream=maybe", "stream"),
        ("starting_after=3", "starting_after"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=true&starting_after=x", "starting_after"),
    ],
)
def test_a_bad_query_is_refused(system: System, query: str, param: str) -> None:
    url = f"{system.base_url()}/responses/resp_x?{query}"
    refused = httpx.get(url, headers={"authorization": f"Bearer {KEYS[0]}"})
    assert (refused.status_code, json.loads(refused.content)["error"]["param"]) == (400, param)
