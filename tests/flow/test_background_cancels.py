"""Cancels of responses in the background wherever they are: queued, running, on a dead worker."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.fakes.system import System, upstream_agent
from tests.flow.conftest import KEYS
from tests.patience import waited

pytestmark = pytest.mark.redis
MODEL = "slow-1000x20"
BACKGROUND: dict[str, Any] = {"model": MODEL, "input": "go", "background": True}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One worker with room for one run."""
    agents = {"agents": {MODEL: upstream_agent(MODEL)}}
    directory = tmp_path_factory.mktemp("cancels")
    slots = {"slots": "1"}
    with System(directory, agents, apis=2, api_keys=KEYS, settings=slots) as system:
        yield system


def test_what_waits_in_its_queue_is_cancelled_by_its_owner_alone_and_never_runs(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, bob = clients
    before = len(system.upstream.requests())
    running = here.responses.create(**BACKGROUND)
    waited(lambda: len(system.upstream.requests()) > before)
    asked = len(system.upstream.requests())
    waiting = here.responses.create(**BACKGROUND)
    with pytest.raises(openai.NotFoundError) as caught:
        bob.responses.cancel(waiting.id)
    assert caught.value.param == "response_id"
    assert there.responses.retrieve(waiting.id).status == "queued"
    cancelled = there.responses.cancel(waiting.id)
    assert (cancelled.status, cancelled.output, cancelled.error) == ("cancelled", [], None)
    assert [event.type for event in here.responses.retrieve(waiting.id, stream=True)] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.failed",
    ]
    assert here.responses.cancel(running.id).status == "cancelled"
    assert len(system.upstream.requests()) == asked


def test_two_who_cancel_at_once_are_told_the_same(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, _ = clients
    begun = here.responses.create(**BACKGROUND)
    waited(lambda: there.responses.retrieve(begun.id).status == "in_progress")
    with ThreadPoolExecutor() as threads:
        told = [*threads.map(lambda at: at.responses.cancel(begun.id), (here, there, here, there))]
    assert told[0].status == "cancelled" and told == 4 * told[:1]


def test_what_a_dead_worker_had_is_cancelled_although_nobody_answers(
    system: System, clients: list[openai.OpenAI]
) -> None:
    here, there, _ = clients
    begun = here.responses.create(**BACKGROUND)
    waited(lambda: there.responses.retrieve(begun.id).status == "in_progress")
    system.kill_worker(0)
    cancelled = there.responses.cancel(begun.id)
    assert (cancelled.status, cancelled.error) == ("cancelled", None)
    assert here.responses.retrieve(begun.id) == cancelled
    system.start_worker()
    system.wait_ready()
    assert here.responses.retrieve(begun.id) == cancelled
