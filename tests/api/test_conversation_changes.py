from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.conversation_bed import CONVERSATION, ConversationBed, turn

pytestmark = pytest.mark.redis

PATH = f"/{CONVERSATION}"


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[ConversationBed]:
    async with ConversationBed(redis_url) as bed:
        yield bed


@pytest.fixture
async def http(bed: ConversationBed) -> AsyncIterator[httpx.AsyncClient]:
    async with bed.http() as http:
        yield http


async def test_title_and_tags_stay_until_they_are_set_again(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write()
    reply = await http.patch(PATH, json={"title": " A ", "tags": {"a": "1", "b": "2"}})
    assert reply.json() == {"success": True}
    await http.patch(PATH, json={"tags": {"c": "3"}})
    assert (await http.patch(PATH, json={})).json() == {"success": True}
    told = (await http.get(PATH)).json()
    assert (told["title"], told["tags"]) == ("A", {"c": "3"})
    assert told["updated_at"] > told["created_at"]


async def test_a_change_prolongs_the_life_of_all_there_is(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1)])
    await http.patch(PATH, json={"title": "A"})
    for key in (bed.keys.conversation, bed.keys.turns, bed.keys.about):
        assert await bed.redis.pttl(key(CONVERSATION)) > 29 * 86_400_000


async def test_a_new_one_takes_the_place_of_those_that_are_over(bed: ConversationBed) -> None:
    mine = bed.keys.conversations("key-1")
    await bed.redis.zadd(mine, {"over": 1})
    await bed.conversations.begin(CONVERSATION, "key-1", {})
    assert await bed.redis.zrange(mine, 0, -1) == [CONVERSATION.encode()]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"title": ""}, "title"),
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"tags": {"Upper": "x"}}, "tags"),
        ({"tags": {"a": "x" * 257}}, "tags"),
        ({"tags": {"a": 1}}, "tags.a"),
        ([], None),
    ],
)
async def test_what_is_no_title_and_no_tag_is_422(
    bed: ConversationBed, http: httpx.AsyncClient, body: Any, param: str | None
) -> None:
    await bed.write()
    reply = await http.patch(PATH, json=body)
    assert reply.status_code == 422
    assert reply.json()["error"]["param"] == param
    assert isinstance(reply.json()["detail"], list)


async def test_a_conversation_that_goes_meanwhile_is_not_named(bed: ConversationBed) -> None:
    await bed.write()
    found = await bed.conversations.find(CONVERSATION, "key-1")
    assert found is not None
    await bed.redis.delete(bed.keys.conversation(CONVERSATION))
    assert not await bed.conversations.describe(found.head, "A", None)
    assert not await bed.redis.exists(bed.keys.about(CONVERSATION))


async def test_a_deleted_conversation_leaves_nothing(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1)])
    await http.patch(PATH, json={"title": "A"})
    assert (await http.delete(PATH)).json() == {"success": True}
    assert (await http.get(PATH)).status_code == 404
    assert (await http.delete(PATH)).status_code == 404
    assert (await http.get("/count")).json() == 0
    assert await bed.redis.keys(f"*{CONVERSATION}*") == []


@pytest.mark.parametrize("verb", ["pause", "interrupt"])
async def test_an_idle_conversation_may_be_interrupted(
    bed: ConversationBed, http: httpx.AsyncClient, verb: str
) -> None:
    await bed.write()
    assert (await http.post(f"{PATH}/{verb}")).json() == {"success": True}


async def test_a_fork_goes_its_own_way(bed: ConversationBed, http: httpx.AsyncClient) -> None:
    await bed.write(turns=[turn(1), turn(2)], model="openhands_demo", status="finished")
    await http.patch(PATH, json={"title": "A", "tags": {"a": "1"}})
    reply = await http.post(f"{PATH}/fork")
    assert reply.status_code == 201
    fork = reply.json()
    assert fork["forked_from_conversation_id"] == CONVERSATION
    assert fork["forked_from_event_id"] is None
    assert (fork["execution_status"], fork["current_model_id"]) == ("idle", "openhands_demo")
    assert (fork["title"], fork["tags"]) == (None, {"a": "1"})
    assert fork["stats"]["usage_to_metrics"]["default"]["accumulated_cost"] == 0.0
    await http.delete(PATH)
    events = (await http.get(f"/{fork['id']}/events/search")).json()["items"]
    assert [event["source"] for event in events] == ["user", "agent"] * 2
    assert (await http.get("/count")).json() == 1
    assert await bed.redis.pttl(bed.keys.turns(fork["id"])) > 0


async def test_a_fork_may_have_an_id_a_name_and_the_costs(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1)])
    id = str(uuid4())
    wish = {"id": id, "title": "B", "tags": {}, "reset_metrics": False}
    fork = (await http.post(f"{PATH}/fork", json=wish)).json()
    assert (fork["id"], fork["title"], fork["tags"]) == (id, "B", {})
    assert fork["stats"]["usage_to_metrics"]["default"]["accumulated_cost"] == 0.5
    reply = await http.post(f"{PATH}/fork", json=wish)
    assert (reply.status_code, reply.json()["error"]["param"]) == (409, "id")


async def test_a_fork_ends_where_it_is_cut(bed: ConversationBed, http: httpx.AsyncClient) -> None:
    await bed.write(turns=[turn(1), turn(2)])
    events = (await http.get(f"{PATH}/events/search")).json()["items"]
    wish = {"from_event_id": events[1]["id"]}
    fork = (await http.post(f"{PATH}/fork", json=wish)).json()
    assert fork["forked_from_event_id"] == fork["leaf_event_id"] == events[1]["id"]
    assert (await http.get(f"/{fork['id']}/events/count")).json() == 2


async def test_a_fork_is_cut_between_turns_alone(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1)])
    events = (await http.get(f"{PATH}/events/search")).json()["items"]
    for event_id, status in ((events[0]["id"], 400), ("none", 404)):
        reply = await http.post(f"{PATH}/fork", json={"from_event_id": event_id})
        assert (reply.status_code, reply.json()["error"]["param"]) == (status, "from_event_id")


async def test_a_fork_of_nothing_yet_is_empty(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write()
    fork = (await http.post(f"{PATH}/fork")).json()
    assert (fork["execution_status"], fork["leaf_event_id"]) == ("idle", None)
