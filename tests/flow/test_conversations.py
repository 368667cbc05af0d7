"""Conversations through the whole of it: API, Redis, workers."""

import asyncio
from uuid import uuid4

import httpx
import pytest

from tests.flow.stage import Stage, request
from tests.patience import until

pytestmark = pytest.mark.redis

HEADER = "X-OpenHands-ServerConversation-ID"


async def test_the_reply_of_a_conversation_tells_its_id_and_a_plain_one_has_none(
    redis_url: str,
) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        reply = await say(stage, "hi", name)
        assert reply.headers[HEADER] == reply.headers["x-conversation-id"] == name
        assert HEADER not in (await stage.chat("hi")).headers


async def test_malformed_ids_are_refused_and_errors_tell_the_id(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        assert (await say(stage, "hi", "no-uuid")).status_code == 400
        name = str(uuid4())
        reply = await stage.http.post(
            "/v1/chat/completions", json={"model": "none"}, headers={HEADER: name}
        )
        assert (reply.status_code, reply.headers[HEADER]) == (400, name)


async def test_history_is_the_models_context_and_the_usage_is_the_requests(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        first = (await say(stage, "one two three", name)).json()
        second = (await say(stage, "four", name)).json()
        # The echo agent counts the words that it was given, and those that it says.
        assert first["usage"]["prompt_tokens"] == 3
        assert second["usage"]["prompt_tokens"] == 3 + 3 + 1
        assert second["usage"]["completion_tokens"] == 1


async def test_parallel_requests_of_one_conversation_each_get_their_own_answer(
    redis_url: str,
) -> None:
    async with Stage(redis_url, workers=2) as stage:
        name = str(uuid4())
        texts = [f"words of {number}" for number in range(12)]
        replies = await asyncio.gather(*[say(stage, text, name) for text in texts])
        assert [reply.json()["choices"][0]["message"]["content"] for reply in replies] == texts
        last = (await say(stage, "last", name)).json()
        assert last["usage"]["prompt_tokens"] == 12 * 6 + 1


async def test_a_client_that_leaves_gives_its_turn_to_the_next(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        gone = asyncio.create_task(say(stage, "x", name, agent="held"))
        await until(lambda: stage.held.began)
        waits = asyncio.create_task(say(stage, "me", name))
        while not await stage.redis.llen(stage.keys.waiting(name)):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
        gone.cancel()
        assert (await waits).json()["choices"][0]["message"]["content"] == "me"


async def say(stage: Stage, text: str, name: str, *, agent: str = "echo") -> httpx.Response:
    return await stage.http.post(
        "/v1/chat/completions", json=request(text, agent), headers={HEADER: name}
    )
