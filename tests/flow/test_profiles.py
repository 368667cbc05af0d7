"""From a saved profile to its upstream and back, through the queue."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.profile_bed import API_KEY, api, save
from tests.fakes.upstream import FakeUpstream, words
from tests.flow.profile_stage import profile_stage
from trunkline_shared.connection import make_blocking_redis
from trunkline_shared.settings import CommonSettings

pytestmark = pytest.mark.redis


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as fake:
        yield fake


async def validate(http: httpx.AsyncClient, upstream: FakeUpstream, **llm: Any) -> httpx.Response:
    body = {"llm": {"api_key": API_KEY, "base_url": upstream.base_url, **llm}}
    return await http.post("/api/profiles/draft/validate", json=body)


async def test_a_profile_answers_as_a_model_with_one_call_upstream(
    upstream: FakeUpstream, redis_url: str
) -> None:
    message = {"role": "user", "content": "Answer directly and do not use tools: say hi."}
    async with profile_stage(redis_url) as http:
        await save(http, "demo", model="openai/words-3", base_url=upstream.base_url)
        body = {"model": "openhands_demo", "messages": [message]}
        reply = await http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200
    assert reply.json()["model"] == "openhands_demo"
    assert reply.json()["choices"][0]["message"]["content"] == words(3)
    assert reply.headers["x-openhands-serverconversation-id"]
    (seen,) = upstream.requests
    assert seen.headers["authorization"] == f"Bearer {API_KEY}"


async def test_a_profile_that_works_is_valid_and_nothing_is_saved(
    upstream: FakeUpstream, redis_url: str
) -> None:
    async with profile_stage(redis_url) as http:
        reply = await validate(http, upstream, model="openai/words-9")
        assert (await http.get("/api/profiles")).json()["profiles"] == []
    assert reply.status_code == 200
    assert reply.json() == {"valid": True, "error": None}
    (seen,) = upstream.requests
    assert seen.body["max_tokens"] == 16
    assert seen.body["messages"] == [{"role": "user", "content": "ping"}]


@pytest.mark.parametrize(
    ("llm", "kind"),
    [
        ({"model": "openai/status-401"}, "LLMAuthenticationError"),
        ({"model": "openai/status-404"}, "NotFoundError"),
        ({"model": "openai/status-400"}, "LLMBadRequestError"),
        ({"model": "openai/context-length"}, "LLMContextWindowExceedError"),
        ({"model": "openai/status-503"}, "LLMServiceUnavailableError"),
        ({"model": "openai/no-quota"}, "LLMRateLimitError"),
        ({"model": "openai/x", "base_url": "http://127.0.0.1:9/v1"}, "LLMServiceUnavailableError"),
        ({"model": "bedrock/x", "base_url": None}, "LLMBadRequestError"),
        ({"model": "nobody/x", "base_url": None}, "LLMBadRequestError"),
    ],
)
async def test_a_profile_that_does_not_work_says_how_in_openhands_words(
    llm: dict[str, Any], kind: str, upstream: FakeUpstream, redis_url: str
) -> None:
    async with profile_stage(redis_url) as http:
        reply = await validate(http, upstream, **llm)
    assert reply.status_code == 200
    verdict = reply.json()
    assert verdict["valid"] is False
    assert verdict["error"]["type"] == kind
    assert verdict["error"]["message"]
    assert API_KEY not in reply.text
    assert "127.0.0.1" not in reply.text


async def test_what_passes_by_itself_does_not_count_against_a_profile(
    upstream: FakeUpstream, redis_url: str
) -> None:
    async with profile_stage(redis_url, silence_timeout_s=0.2) as http:
        for model in ("openai/status-429", "openai/hang"):
            reply = await validate(http, upstream, model=model)
            assert reply.json() == {"valid": True, "error": None}


async def test_a_check_is_made_once_whatever_the_profile_says_of_retries(
    upstream: FakeUpstream, redis_url: str
) -> None:
    async with profile_stage(redis_url) as http:
        reply = await validate(http, upstream, model="openai/status-503", num_retries=3)
    assert reply.json()["valid"] is False
    assert len(upstream.requests) == 1


async def test_without_a_worker_nothing_is_said_about_the_profile(
    upstream: FakeUpstream, redis_url: str
) -> None:
    async with api(redis_url) as http:
        reply = await validate(http, upstream, model="openai/words-1")
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "agent_unavailable"


async def test_a_worker_with_another_secret_key_is_named_as_the_fault(
    upstream: FakeUpstream, redis_url: str
) -> None:
    message = {"role": "user", "content": "hi"}
    async with profile_stage(redis_url, secret_key="another") as http:
        await save(http, "demo", base_url=upstream.base_url)
        body = {"model": "openhands_demo", "messages": [message]}
        reply = await http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 503
    assert "TRUNKLINE_SECRET_KEY" in reply.json()["error"]["message"]


async def test_a_run_crosses_redis_without_its_key_in_clear(
    upstream: FakeUpstream, redis_url: str
) -> None:
    redis = make_blocking_redis(CommonSettings(redis_url=redis_url))
    with redis.monitor() as monitor:
        async with profile_stage(redis_url) as http:
            await save(http, "demo", model="openai/words-1", base_url=upstream.base_url)
            body = {"model": "openhands_demo", "messages": [{"role": "user", "content": "hi"}]}
            await http.post("/v1/chat/completions", json=body)
            await validate(http, upstream, model="openai/words-1")
        seen = []
        redis.echo("the end")
        while "the end" not in (command := str(monitor.next_command())):
            seen.append(command)
    redis.close()
    assert any("openhands_demo" in command for command in seen)
    assert API_KEY not in str(seen)


async def test_a_profile_is_a_conversation_however_json_spells_its_name(
    upstream: FakeUpstream, redis_url: str
) -> None:
    async with profile_stage(redis_url) as http:
        await save(http, "demo", model="openai/words-1", base_url=upstream.base_url)
        body = b'{"model":"\\u006fpenhands_demo","messages":[{"role":"user","content":"hi"}]}'
        reply = await http.post("/v1/chat/completions", content=body)
    assert reply.status_code == 200 and reply.headers["x-conversation-id"]
