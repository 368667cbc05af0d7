"""What a saved profile's run asks of its upstream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.backends.driving import events_of, failed, finished, request, text_in
from trunkline_shared.config.models import AgentConfig, Config, Profiles
from trunkline_shared.llm import Llm
from trunkline_shared.profile import PROFILE_AGENT, seal_llm
from trunkline_shared.run import RunRequest
from trunkline_shared.vault import Vault
from trunkline_worker.backends.build import Backends
from trunkline_worker.settings import WorkerSettings

KEY = "the deployment's own"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


def sealed(key: str = KEY, **llm: Any) -> str:
    return seal_llm(Llm(**llm), Vault(key))


def run_of(profile: str, **fields: Any) -> RunRequest:
    return request(agent=PROFILE_AGENT, profile=profile, **fields)


@asynccontextmanager
async def worker(
    environ: dict[str, str] | None = None, agent: AgentConfig | None = None, **settings: Any
) -> AsyncIterator[Backends]:
    config = Config(
        path="agents.yml",
        agents={agent.name: agent} if agent else {},
        profiles=Profiles(agent=agent.name if agent else None),
    )
    settings.setdefault("secret_key", KEY)
    backends = Backends(config, WorkerSettings(**settings), environ or {})
    await backends.open()
    try:
        yield backends
    finally:
        await backends.aclose()


async def body_of(upstream: FakeUpstream, fields: Any = None, **llm: Any) -> dict[str, Any]:
    """What the upstream was sent for one run."""
    llm = {"model": "openai/words-1", "base_url": upstream.base_url, "api_key": "sk-own", **llm}
    async with worker() as backends:
        run = run_of(sealed(**llm), **(fields or {}))
        finished(await events_of(backends.get(run), run))
    (seen,) = upstream.requests
    return seen.body


async def test_a_profile_answers_with_its_own_key_in_one_call(upstream: FakeUpstream) -> None:
    body = await body_of(upstream, model="openai/words-3")
    assert body["model"] == "words-3"
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert upstream.requests[0].headers["authorization"] == "Bearer sk-own"


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("words-1", "words-1"),
        ("openai/words-1", "words-1"),
        ("hosted_vllm/words-1", "words-1"),
        ("litellm_proxy/words-1", "words-1"),
        ("somewhere/words-1", "words-1"),
    ],
)
async def test_the_provider_is_no_part_of_the_name_that_is_sent(
    model: str, sent: str, upstream: FakeUpstream
) -> None:
    assert (await body_of(upstream, model=model))["model"] == sent


async def test_what_was_set_is_sent_and_what_was_not_is_the_models_own(
    upstream: FakeUpstream,
) -> None:
    body = await body_of(upstream)
    asked = {"model", "messages", "stream", "stream_options"}
    assert body.keys() == asked
    given = {"temperature": 0.2, "top_p": 0.5, "seed": 7, "reasoning_effort": "high"}
    upstream.requests.clear()
    body = await body_of(
        upstream,
        **given,
        max_output_tokens=99,
        extra_headers={"x-team": "red"},
        litellm_extra_body={"tags": ["a"]},
    )
    assert {key: body[key] for key in given} == given
    assert body["tags"] == ["a"]
    assert body["max_tokens"] == 99
    assert upstream.requests[0].headers["x-team"] == "red"


async def test_of_a_whole_dump_only_what_differs_from_the_defaults_is_sent(
    upstream: FakeUpstream,
) -> None:
    dump = Llm(model="openai/words-1", temperature=0.5).model_dump(exclude={"base_url", "api_key"})
    assert dump["reasoning_effort"] == "high"
    body = await body_of(upstream, **dump)
    assert body["temperature"] == 0.5
    assert "reasoning_effort" not in body


async def test_the_caller_has_the_last_word(upstream: FakeUpstream) -> None:
    options = {"temperature": 1.0, "max_output_tokens": 5}
    body = await body_of(
        upstream, {"options": options}, temperature=0.2, max_output_tokens=99, top_p=0.5
    )
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (1.0, 0.5, 5)


async def test_the_name_of_the_output_limit_may_be_said(upstream: FakeUpstream) -> None:
    body = await body_of(upstream, max_output_tokens=9, max_tokens_field="max_completion_tokens")
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


async def test_the_operators_key_goes_nowhere_but_to_its_provider(upstream: FakeUpstream) -> None:
    environ = {"OPENAI_API_KEY": "sk-operator", "OPENAI_BASE_URL": upstream.base_url}
    agent = AgentConfig(
        name="base",
        model=("openai:x",),
        settings={"extra_headers": {"x-secret": "sk-operator"}, "temperature": 0.1},
    )
    async with worker(environ, agent) as backends:
        for llm in ({"model": "words-1"}, {"model": "words-1", "base_url": upstream.base_url}):
            run = run_of(sealed(**llm))
            finished(await events_of(backends.get(run), run))
    ours, theirs = upstream.requests
    assert ours.headers["authorization"] == "Bearer sk-operator"
    assert "sk-operator" not in str(theirs.headers)
    assert theirs.body["temperature"] == 0.1


async def test_the_named_agent_lends_its_prompt_and_limits(upstream: FakeUpstream) -> None:
    agent = AgentConfig.model_validate(
        {
            "name": "base",
            "model": "anthropic:claude",
            "system_prompt": "Be short.",
            "limits": {"max_tokens": 4},
        }
    )
    async with worker(agent=agent) as backends:
        assert PROFILE_AGENT in backends.runnable
        run = run_of(sealed(model="words-9", base_url=upstream.base_url))
        end = finished(await events_of(backends.get(run), run))
    assert upstream.requests[0].body["messages"][0]["content"] == "Be short."
    assert upstream.requests[0].body["max_tokens"] == 4
    assert end.detail == "limits.max_tokens reached"


async def test_a_profiles_costs_are_the_runs(upstream: FakeUpstream) -> None:
    llm = {"model": "words-3", "base_url": upstream.base_url}
    costs = {"input_cost_per_token": 0.5, "output_cost_per_token": 2.0}
    async with worker() as backends:
        priced, free = run_of(sealed(**llm, **costs)), run_of(sealed(**llm))
        usage = finished(await events_of(backends.get(priced), priced)).usage
        unknown = finished(await events_of(backends.get(free), free)).usage
    assert usage is not None
    assert usage.cost == usage.input_tokens * 0.5 + usage.output_tokens * 2.0
    assert unknown is not None
    assert unknown.cost is None


async def test_a_backend_is_made_once_for_each_record(upstream: FakeUpstream) -> None:
    profile = sealed(model="words-1", base_url=upstream.base_url)
    async with worker() as backends:
        first = backends.get(run_of(profile))
        assert backends.get(run_of(profile)) is first
        saved_again = sealed(model="words-1", base_url=upstream.base_url)
        assert backends.get(run_of(saved_again)) is not first


@pytest.mark.parametrize("retries", [0, 2])
async def test_retries_are_the_profiles_when_it_has_them(
    retries: int, upstream: FakeUpstream
) -> None:
    async with worker(upstream_retries=0 if retries else 2) as backends:
        run = run_of(sealed(model="busy-1", base_url=upstream.base_url, num_retries=retries))
        events = await events_of(backends.get(run), run)
    if retries:
        assert text_in(events) == words(3)
    else:
        assert failed(events).code == "upstream_rate_limited"
    assert len(upstream.requests) == (2 if retries else 1)


@pytest.mark.parametrize(
    "patience",
    [{"stream_idle_timeout": 0.3}, {"timeout": 1}, {"timeout": 9, "stream_idle_timeout": 0.3}],
)
async def test_a_silent_upstream_is_given_up_when_the_profile_says_so(
    patience: dict[str, float], upstream: FakeUpstream
) -> None:
    async with worker(upstream_retries=0) as backends, asyncio.timeout(5):
        run = run_of(sealed(model="hang", base_url=upstream.base_url, **patience))
        assert failed(await events_of(backends.get(run), run)).code == "upstream_timeout"
