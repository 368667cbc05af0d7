"""What OpenHands' clients see of conversations, through the whole of it."""

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest

from tests.fakes.webhook_sink import WebhookSink
from tests.flow.stage import Stage
from tests.patience import until
from trunkline_api.webhooks import Webhook

pytestmark = pytest.mark.redis

HEADER = "X-OpenHands-ServerConversation-ID"
SPAN = "X-OpenHands-Observability-Span-Name"


def chat(
    stage: Stage, text: str, name: str, agent: str = "echo", **headers: str
) -> asyncio.Task[httpx.Response]:
    body = {"model": agent, "messages": [{"role": "user", "content": text}]}
    headers |= {HEADER: name}
    return asyncio.create_task(
        stage.http.post("/v1/chat/completions", json=body, headers=headers)  # type: ignore[arg-type]
    )


async def test_turns_are_counted_and_told_as_events(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        ids = [(await chat(stage, text, name)).json()["id"] for text in ("one two", "three")]
        told = (await stage.http.get(f"/api/conversations/{name}")).json()
        assert (told["execution_status"], told["current_model_id"]) == ("finished", "echo")
        default = told["stats"]["usage_to_metrics"]["default"]
        assert [row["response_id"] for row in default["token_usages"]] == ids
        assert default["accumulated_token_usage"]["prompt_tokens"] == 2 + 2 + 2 + 1
        assert isinstance(default["accumulated_cost"], float)
        events = (await stage.http.get(f"/api/conversations/{name}/events/search")).json()
        texts = [event["llm_message"]["content"][0]["text"] for event in events["items"]]
        assert texts == ["one two", "one two", "three", "three"]


@pytest.mark.parametrize("verb", ["delete", "interrupt"])
async def test_who_waits_for_a_conversation_that_ends_gets_409(redis_url: str, verb: str) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        running, waiting = (chat(stage, "hi", name, "held") for _ in range(2))
        await until(lambda: stage.held.began)
        path = f"/api/conversations/{name}"
        assert (await stage.http.get(path)).json()["execution_status"] == "running"
        while not await stage.redis.llen(stage.keys.waiting(name)):  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)
        if verb == "delete":
            reply = await stage.http.delete(path)
        else:
            reply = await stage.http.post(f"{path}/interrupt")
        assert reply.json() == {"success": True}
        for each in (await running, await waiting):
            assert (each.status_code, each.json()["error"]["code"]) == (409, "cancelled")
        after = await stage.http.get(path)
        if verb == "delete":
            assert after.status_code == 404
        else:
            assert after.json()["execution_status"] == "paused"


async def test_a_fork_remembers_what_was_said(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        await chat(stage, "one two three", name)
        fork = (await stage.http.post(f"/api/conversations/{name}/fork")).json()["id"]
        usage = (await chat(stage, "four", fork)).json()["usage"]
        assert usage["prompt_tokens"] == 3 + 3 + 1
        told = (await stage.http.get(f"/api/conversations/{fork}")).json()
        default = told["stats"]["usage_to_metrics"]["default"]
        assert default["accumulated_token_usage"]["prompt_tokens"] == 7


async def test_webhooks_hear_of_every_turn(redis_url: str) -> None:
    async with WebhookSink() as sink:
        webhooks = (Webhook(base_url=sink.url),)
        async with Stage(redis_url, webhooks=webhooks) as stage:
            name = str(uuid4())
            for text in ("one", "two"):
                await chat(stage, text, name)
            await until(lambda: len(sink.taken) == 4)
            await stage.chat("no conversation")
        events = [told for told in sink.taken if "/events/" in told.path]
    assert {told.path for told in events} == {f"/hooks/events/{UUID(name).hex}"}
    said = [each["llm_message"]["content"][0]["text"] for told in events for each in told.body]
    assert said == ["one", "one", "two", "two"]
    assert len(sink.taken) == 4


async def test_observability_headers_are_taken_or_named(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        name = str(uuid4())
        assert (await chat(stage, "hi", name, **{SPAN: "triage"})).status_code == 200
        metadata = "X-OpenHands-Observability-Metadata"
        reply = await chat(stage, "hi", name, **{metadata: "no json"})
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, metadata)
