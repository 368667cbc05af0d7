from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.conversation_bed import CONVERSATION, DAY_MS, ROOT, ConversationBed, turn
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis

PATH = f"/{CONVERSATION}"
NOBODYS = str(uuid4())


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[ConversationBed]:
    async with ConversationBed(redis_url) as bed:
        yield bed


@pytest.fixture
async def http(bed: ConversationBed) -> AsyncIterator[httpx.AsyncClient]:
    async with bed.http() as http:
        yield http


def spelt(id: str) -> list[str]:
    return [id, id.upper(), UUID(id).hex]


@pytest.mark.parametrize("id", spelt(CONVERSATION))
async def test_a_conversation_is_told_under_every_spelling_of_its_id(
    bed: ConversationBed, http: httpx.AsyncClient, id: str
) -> None:
    await bed.write(turns=[turn(1)], status="finished", model="openhands_demo")
    reply = await http.get(f"/{id}")
    assert reply.status_code == 200
    told = reply.json()
    assert (told["id"], told["execution_status"]) == (CONVERSATION, "finished")
    assert told["stats"]["usage_to_metrics"]["default"]["accumulated_cost"] == 0.5


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "idle"),
        ({"status": "paused", "run": ""}, "paused"),
        ({"status": "error", "run": "run-2"}, "running"),
    ],
)
async def test_the_status_is_the_runs(
    bed: ConversationBed, http: httpx.AsyncClient, fields: dict[str, str], status: str
) -> None:
    await bed.write(**fields)
    assert (await http.get(PATH)).json()["execution_status"] == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/agent_final_response"),
        ("GET", "/events/search"),
        ("GET", "/events/count"),
        ("GET", "/events/some-event"),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/interrupt"),
        ("POST", "/fork"),
    ],
)
async def test_what_is_not_the_callers_does_not_exist(
    bed: ConversationBed, http: httpx.AsyncClient, method: str, path: str
) -> None:
    await bed.write(principal="key-2", turns=[turn(1)])
    for id in (CONVERSATION, NOBODYS):
        reply = await http.request(method, f"/{id}{path}")
        missing = "Not Found"
        if "/events" in path:
            missing = f"Conversation not found: {id}"
        elif path == "/fork":
            missing = "Source conversation not found"
        assert (reply.status_code, reply.json()["detail"]) == (404, missing)
        assert reply.json()["error"]["code"] == "conversation_not_found"
    async with bed.http("theirs") as theirs:
        assert (await theirs.get(PATH)).status_code == 200


async def test_a_malformed_id_is_422_and_no_key_401(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    reply = await http.get("/no-uuid")
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["type"] == "uuid_parsing"
    assert reply.json()["error"]["param"] == "conversation_id"
    del http.headers["x-session-api-key"]
    assert (await http.get(PATH)).status_code == 401
    assert (await http.get("/search")).status_code == 401


async def test_there_is_nothing_to_create(http: httpx.AsyncClient) -> None:
    assert (await http.post(ROOT, json={})).status_code == 405


async def test_a_search_pages_through_what_is_the_callers(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    ids = [str(uuid4()) for _ in range(5)]
    for number, id in enumerate(ids):
        status = "finished" if number % 2 else "error"
        await bed.write(id, [turn(number)], created=DAY_MS + number, status=status)
    await bed.write(principal="key-2")
    assert (await http.get("/count")).json() == 5
    assert (await http.get("/count", params={"status": "finished"})).json() == 2

    found, page_id = [], None
    while page_id or not found:
        params = {"limit": 2} | ({"page_id": page_id} if page_id else {})
        page = (await http.get("/search", params=params)).json()
        found += [item["id"] for item in page["items"]]
        page_id = page["next_page_id"]
    assert found == ids[::-1]

    params = {"status": "error", "sort_order": "CREATED_AT"}
    page = (await http.get("/search", params=params)).json()
    assert [item["id"] for item in page["items"]] == ids[::2]
    assert page["next_page_id"] is None


@pytest.mark.parametrize("wrong", ["limit=0", "limit=101", "status=odd", "sort_order=NAME"])
async def test_a_search_for_what_there_is_not_is_422(http: httpx.AsyncClient, wrong: str) -> None:
    reply = await http.get(f"/search?{wrong}")
    assert reply.status_code == 422
    assert reply.json()["error"]["param"] == wrong.partition("=")[0]


async def test_what_has_expired_is_not_found(bed: ConversationBed, http: httpx.AsyncClient) -> None:
    await bed.write()
    await bed.redis.delete(bed.keys.conversation(CONVERSATION))
    assert (await http.get("/count")).json() == 0
    assert (await http.get("/search")).json() == {"items": [], "next_page_id": None}


async def test_a_batch_has_null_for_what_there_is_not(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write()
    reply = await http.get(ROOT, params={"ids": [NOBODYS, UUID(CONVERSATION).hex]})
    missing, found = reply.json()
    assert (missing, found["id"]) == (None, CONVERSATION)


async def test_the_final_response_is_text(bed: ConversationBed, http: httpx.AsyncClient) -> None:
    await bed.write(turns=[turn(1, answer="the end")])
    assert (await http.get(f"{PATH}/agent_final_response")).json() == {"response": "the end"}


async def test_events_are_found_by_kind_source_words_and_time(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1, "Where?", "There"), turn(2, outcome="run_timeout", said=[])])
    events = (await http.get(f"{PATH}/events/search")).json()["items"]
    assert len(events) == 4

    async def found(**params: str) -> list[int]:
        reply = (await http.get(f"{PATH}/events/search", params=params)).json()
        count = (await http.get(f"{PATH}/events/count", params=params)).json()
        assert count == len(reply["items"])
        return [events.index(item) for item in reply["items"]]

    assert await found(kind="ConversationErrorEvent") == [3]
    assert await found(kind="openhands.sdk.event.llm_convertible.message.MessageEvent") == [0, 1, 2]
    assert await found(source="agent") == [1]
    assert await found(body="wHERE") == [0]
    assert await found(timestamp__gte=events[1]["timestamp"]) == [1, 2, 3]
    assert await found(timestamp__lt="2026-09-21T14:13:22") == [0, 1]
    assert (await http.get(f"{PATH}/events/search?timestamp__lt=soon")).status_code == 422


async def test_events_are_paged_in_both_directions(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1), turn(2)])
    ids = [e["id"] for e in (await http.get(f"{PATH}/events/search")).json()["items"]]
    params = {"limit": "3", "sort_order": "TIMESTAMP_DESC"}
    first = (await http.get(f"{PATH}/events/search", params=params)).json()
    assert [event["id"] for event in first["items"]] == ids[:0:-1]
    params["page_id"] = first["next_page_id"]
    last = (await http.get(f"{PATH}/events/search", params=params)).json()
    assert [event["id"] for event in last["items"]] == ids[:1]
    assert last["next_page_id"] is None


async def test_an_event_is_got_by_its_id(bed: ConversationBed, http: httpx.AsyncClient) -> None:
    await bed.write(turns=[turn(1)])
    event = (await http.get(f"{PATH}/events/search")).json()["items"][0]
    assert (await http.get(f"{PATH}/events/{event['id']}")).json() == event
    reply = await http.get(f"{PATH}/events", params={"event_ids": ["none", event["id"]]})
    assert reply.json() == [None, event]
    reply = await http.get(f"{PATH}/events/none")
    assert (reply.status_code, reply.json()["detail"]) == (404, "Not Found")


async def test_nothing_that_was_said_lies_in_redis_in_clear(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1)])
    await http.patch(PATH, json={"title": "Our plans", "tags": {"team": "secret"}})
    about = await bed.redis.hgetall(bed.keys.about(CONVERSATION))  # type: ignore[misc]
    assert about[b"title"] and b"plans" not in about[b"title"]
    assert b"secret" not in about[b"tags"]


async def test_what_another_key_sealed_is_409_and_hides_nothing_else(
    bed: ConversationBed, http: httpx.AsyncClient
) -> None:
    await bed.write(turns=[turn(1)])
    await bed.write(NOBODYS)
    sealed = Vault("another").seal(b"{}")
    await bed.redis.rpush(bed.keys.turns(NOBODYS), sealed)  # type: ignore[misc]
    for path in ("", "/events/search", "/agent_final_response"):
        reply = await http.get(f"/{NOBODYS}{path}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (
            409,
            "conversation_unreadable",
        )
    page = (await http.get("/search")).json()
    assert [item["id"] for item in page["items"]] == [CONVERSATION]
    some = await http.get(ROOT, params={"ids": [NOBODYS, CONVERSATION]})
    assert [each and each["id"] for each in some.json()] == [None, CONVERSATION]
