"""Keys that the command line makes, at two API processes at once."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, TypeAlias

import openai
import pytest

from tests.cli.processes import eventually, run_trunkline
from tests.fakes.system import System, upstream_agent

pytestmark = pytest.mark.redis
AGENTS: dict[str, Any] = {
    "team/slow": upstream_agent("slow-1000x20"),
    "team/repeater": {"model": "echo", "echo": {"words_per_second": 0}},
    "other": {"model": "echo", "echo": {"words_per_second": 0}},
}
Client: TypeAlias = Callable[[int, str], openai.OpenAI]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("keys"), {"agents": AGENTS}, apis=2) as system:
        yield system


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    """A client of one API process, with one key."""
    with ExitStack() as stack:

        def connect(api: int, key: str) -> openai.OpenAI:
            url = system.base_url(api)
            return stack.enter_context(openai.OpenAI(base_url=url, api_key=key, max_retries=0))

        yield connect


def keys(system: System, *arguments: str) -> str:
    done = run_trunkline("keys", *arguments, "--redis-url", system.redis.url)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(client: openai.OpenAI, model: str = "team/repeater") -> str | None:
    messages: Any = [{"role": "user", "content": "hello"}]
    return client.chat.completions.create(model=model, messages=messages).choices[0].message.content


def refusal(client: openai.OpenAI) -> openai.APIStatusError | None:
    try:
        ask(client)
    except openai.APIStatusError as error:
        return error
    return None


def test_a_key_works_at_every_process_at_once_and_is_revoked_at_once(
    system: System, client: Client
) -> None:
    key = keys(system, "create", "ada")
    both = [client(api, key) for api in (0, 1)]
    assert [ask(each) for each in both] == ["hello", "hello"]
    keys(system, "revoke", "ada")
    for each in (*both, client(0, "none"), client(1, "none")):
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            ask(each)


def test_a_key_is_for_the_models_that_it_names(system: System, client: Client) -> None:
    key = keys(system, "create", "bob", "--models", "team/*")
    for each in (client(0, key), client(1, key)):
        assert {model.id for model in each.models.list()} == {"team/slow", "team/repeater"}
        assert ask(each) == "hello"
        with pytest.raises(openai.PermissionDeniedError, match="may not use the model 'other'"):
            ask(each, "other")
        with pytest.raises(openai.PermissionDeniedError, match="may not use the model 'other'"):
            each.models.retrieve("other")
    assert ask(client(0, keys(system, "create", "eve")), "other") == "hello"


def test_models_were_created_at_the_same_moment_at_every_process(
    system: System, client: Client
) -> None:
    key = keys(system, "create", "dan")
    born = {model.id: model.created for model in client(0, key).models.list()}
    assert born.keys() == AGENTS.keys()
    assert all(abs(moment - time.time()) < 600 for moment in born.values())
    assert {model.id: model.created for model in client(1, key).models.list()} == born
    system.start_api()
    system.wait_ready()
    later = client(2, key)
    assert {model.id: model.created for model in later.models.list()} == born
    assert later.models.retrieve("other").created == born["other"]


def test_a_key_has_as_many_runs_at_once_as_it_may_over_all_processes(
    system: System, client: Client
) -> None:
    key = keys(system, "create", "one", "--max-concurrent", "1")
    free = keys(system, "create", "free")
    messages: Any = [{"role": "user", "content": "x"}]
    running = client(0, key).chat.completions.create(
        model="team/slow", messages=messages, stream=True
    )
    with running as stream:
        next(iter(stream))
        for api in (0, 1):
            refused = refusal(client(api, key))
            assert isinstance(refused, openai.RateLimitError)
            assert refused.code == "concurrency_limit"
            assert refused.response.headers["retry-after"]
        assert ask(client(0, free)) == "hello"
    eventually("its place is free again", lambda: refusal(client(1, key)) is None)


def test_a_key_ends_when_it_expires(system: System, client: Client) -> None:
    end = datetime.fromtimestamp(int(time.time()) + 5, UTC)
    brief = client(1, keys(system, "create", "brief", "--expires", end.isoformat()))
    assert ask(brief) == "hello"
    eventually("it has expired", lambda: refusal(brief))
    refused = refusal(brief)
    assert isinstance(refused, openai.AuthenticationError)
    assert "has expired" in refused.message
    assert time.time() >= end.timestamp()
