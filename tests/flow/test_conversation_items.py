"""Items of conversations while runs have their turns, and what other paths see of them."""

import asyncio
from typing import Any

import pytest

from tests.flow.stage import Stage
from tests.patience import until

pytestmark = pytest.mark.redis

HEADER = "X-Conversation-ID"


def says(text: str, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


async def made(stage: Stage, *texts: str) -> str:
    reply = await stage.http.post("/v1/conversations", json={"items": [*map(says, texts)]})
    conversation: str = reply.json()["id"]
    return conversation


async def add(stage: Stage, conversation: str, *texts: str) -> list[str]:
    """The ids of what was added."""
    body = {"items": [*map(says, texts)]}
    reply = await stage.http.post(f"/v1/conversations/{conversation}/items", json=body)
    assert reply.status_code == 200, reply.text
    return [item["id"] for item in reply.json()["data"]]


async def listed(stage: Stage, conversation: str, **query: Any) -> list[dict[str, Any]]:
    path = f"/v1/conversations/{conversation}/items"
    query = {"order": "asc", "limit": 100, **query}
    reply = await stage.http.get(path, params=query)
    assert reply.status_code == 200, reply.text
    data: list[dict[str, Any]] = reply.json()["data"]
    return data


def texts(items: list[dict[str, Any]]) -> list[str]:
    return ["".join(part["text"] for part in item["content"]) for item in items]


def respond(stage: Stage, conversation: str, agent: str = "echo", **more: Any) -> Any:
    body = {"model": agent, "input": "go", "conversation": conversation, **more}
    return asyncio.create_task(stage.http.post("/v1/responses", json=body))


async def words_of(stage: Stage, conversation: str) -> int:
    """How many words the model gets of the conversation."""
    reply = await respond(stage, conversation)
    tokens: int = reply.json()["usage"]["input_tokens"]
    return tokens - 1


async def test_what_clients_add_while_a_run_has_the_turn_is_there_once_and_for_the_next(
    redis_url: str,
) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage)
        running = respond(stage, conversation, "held")
        await until(lambda: stage.held.began)

        async def client(name: str) -> list[str]:
            return [id for n in range(15) for id in await add(stage, conversation, f"{name}{n}")]

        ids = await asyncio.gather(client("a"), client("b"))
        stage.held.go.set()
        response = (await running).json()
        items = await listed(stage, conversation)
        assert len(items) == 32 and len({item["id"] for item in items}) == 32
        for each in ids:
            assert [item["id"] for item in items if item["id"] in each] == each
        assert items[-1]["id"] == response["output"][0]["id"]
        assert await words_of(stage, conversation) == 30 + 3


async def test_items_of_one_turn_are_deleted_by_many_at_once(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, *map(str, range(20)))
        ids = [item["id"] for item in await listed(stage, conversation)]
        path = f"/v1/conversations/{conversation}/items"
        replies = await asyncio.gather(*[stage.http.delete(f"{path}/{id}") for id in ids[:-1]])
        assert {reply.status_code for reply in replies} == {200}
        assert [item["id"] for item in await listed(stage, conversation)] == ids[-1:]
        assert await words_of(stage, conversation) == 1


async def test_a_page_goes_on_after_an_item_that_was_deleted(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, *"abcd")
        first = await listed(stage, conversation, limit=2)
        for item in first:
            await stage.http.delete(f"/v1/conversations/{conversation}/items/{item['id']}")
        assert texts(await listed(stage, conversation, after=first[-1]["id"])) == ["c", "d"]


async def test_what_is_deleted_while_a_run_has_the_turn_is_gone_for_the_next(
    redis_url: str,
) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, "one two three", "four")
        running = respond(stage, conversation, "held")
        await until(lambda: stage.held.began)
        [item, _] = await listed(stage, conversation)
        reply = await stage.http.delete(f"/v1/conversations/{conversation}/items/{item['id']}")
        assert reply.json()["id"] == conversation
        stage.held.go.set()
        await running
        assert texts(await listed(stage, conversation)) == ["four", "go", "first last"]
        assert await words_of(stage, conversation) == 4


@pytest.mark.parametrize("api", ["conversation", "header"])
async def test_a_turn_that_fails_or_is_left_adds_nothing(redis_url: str, api: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, "one")
        if api == "conversation":
            left = respond(stage, conversation, "held")
        else:
            body = {"model": "held", "messages": [{"role": "user", "content": "go"}]}
            left = asyncio.create_task(
                stage.http.post("/v1/chat/completions", json=body, headers={HEADER: conversation})
            )
        await until(lambda: stage.held.began)
        left.cancel()
        await until(lambda: stage.held.cut)
        assert await words_of(stage, conversation) == 1
        assert texts(await listed(stage, conversation)) == ["one", "go", "go"]


async def test_a_run_in_the_background_adds_its_items_when_it_has_ended(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage)
        begun = (await respond(stage, conversation, "held", background=True)).json()
        await until(lambda: stage.held.began)
        assert await listed(stage, conversation) == []
        waits = respond(stage, conversation)
        stage.held.go.set()
        await waits
        items = await listed(stage, conversation)
        ended = (await stage.http.get(f"/v1/responses/{begun['id']}")).json()
        assert texts(items) == ["go", "first last", "go", "go"]
        assert items[1]["id"] == ended["output"][0]["id"]
        assert (await stage.http.delete(f"/v1/conversations/{conversation}")).status_code == 200
        kept = await stage.http.get(f"/v1/responses/{begun['id']}")
        assert kept.json()["conversation"] == {"id": conversation}


@pytest.mark.parametrize("how", [{}, {"stream": True}, {"background": True}])
async def test_who_waits_too_long_for_its_turn_is_told_that_the_conversation_is_busy(
    redis_url: str, how: dict[str, Any]
) -> None:
    async with Stage(redis_url, conversation_wait_s=0.2) as stage:
        conversation = await made(stage)
        running = respond(stage, conversation, "held")
        await until(lambda: stage.held.began)
        reply = await respond(stage, conversation, **how)
        if "background" in how:
            path = f"/v1/responses/{reply.json()['id']}"
            found = {"status": "queued"}
            while found["status"] == "queued":
                await asyncio.sleep(0.01)
                found = (await stage.http.get(path)).json()
            assert found["status"] == "failed" and "conversation" in str(found["error"])
        else:
            assert (reply.status_code, reply.headers["x-should-retry"]) == (409, "false")
            assert reply.json()["error"]["code"] == "conversation_busy"
        stage.held.go.set()
        await running
        assert len(await listed(stage, conversation)) == 2


async def test_what_was_added_is_an_event_and_costs_nothing(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, "one")
        await respond(stage, conversation)
        body = {"items": [says("two", "assistant")]}
        await stage.http.post(f"/v1/conversations/{conversation}/items", json=body)
        path = f"/api/conversations/{conversation}"
        events = (await stage.http.get(f"{path}/events/search")).json()["items"]
        told = [(event["source"], event["llm_message"]["content"][0]["text"]) for event in events]
        assert told == [("user", "one"), ("user", "go"), ("agent", "go"), ("agent", "two")]
        info = (await stage.http.get(path)).json()
        assert len(info["stats"]["usage_to_metrics"]["default"]["token_usages"]) == 1
        assert info["execution_status"] == "finished"
        ids = [
            each["id"] for each in (await stage.http.get(f"{path[:-38]}/search")).json()["items"]
        ]
        assert ids == [info["id"]]


async def test_a_fork_has_the_same_items_and_goes_its_own_way(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, "one")
        await respond(stage, conversation)
        fork = await stage.http.post(f"/api/conversations/{conversation}/fork", json={})
        copy = fork.json()["id"]
        items = await listed(stage, conversation)
        assert await listed(stage, copy) == items
        await stage.http.delete(f"/v1/conversations/{copy}/items/{items[0]['id']}")
        await add(stage, copy, "more")
        assert await listed(stage, conversation) == items
        assert texts(await listed(stage, copy, after=items[1]["id"])) == ["go", "more"]


async def test_what_versions_before_stored_is_found_too(redis_url: str) -> None:
    async with Stage(redis_url) as stage:
        conversation = await made(stage, "one")
        await respond(stage, conversation)
        items = await listed(stage, conversation)
        [places] = [key async for key in stage.redis.scan_iter("flow:places:*")]
        await stage.redis.delete(places)
        path = f"/v1/conversations/{conversation}/items/{items[1]['id']}"
        assert (await stage.http.get(path)).json() == items[1]
        assert await stage.redis.hlen(places) == 2 and await stage.redis.ttl(places) > 0
        assert texts(await listed(stage, conversation, after=items[0]["id"])) == ["go", "go"]
