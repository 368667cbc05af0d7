"""Profiles as several API processes see them, and as models."""

import asyncio
from typing import Any

import pytest

from tests.api.profile_bed import LLM, PREFIX, api, config_of, save
from tests.fakes.redis_server import RedisServer
from trunkline_api.auth import ApiKeys, Principal
from trunkline_shared.api_keys import digest
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.connection import make_blocking_redis
from trunkline_shared.keys import Keys
from trunkline_shared.settings import CommonSettings

pytestmark = pytest.mark.redis

CREATED = 1_700_000_000
DIGEST = digest(b"k")  # of the key that holders of a limited one send


def asking(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


async def models_of(http: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await http.get("/v1/models")).json()["data"]
    return listed


async def test_a_profile_is_a_model_of_every_process_at_once(redis_url: str) -> None:
    agents = {"assistant": AgentConfig(name="assistant", type="echo")}
    async with api(redis_url, agents=agents) as one, api(redis_url, agents=agents) as other:
        await save(one, "b")
        await save(other, "a")
        for http in (one, other):
            ids = [model["id"] for model in await models_of(http)]
            assert ids == ["assistant", "openhands_a", "openhands_b"]
        model = (await other.get("/v1/models/openhands_b")).json()
        assert model["owned_by"] == "openhands"
        assert model["created"] > CREATED
        await save(other, "b", model="openai/changed")
        assert (await one.get("/v1/models/openhands_b")).json() == model
        await other.delete("/api/profiles/b")
        gone = await one.get("/v1/models/openhands_b")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")


async def test_an_agent_of_the_same_name_stands_before_a_profile(redis_url: str) -> None:
    agents = {"openhands_a": AgentConfig(name="openhands_a", type="echo", description="Mine.")}
    async with api(redis_url, agents=agents) as http:
        await save(http, "a")
        (only,) = await models_of(http)
        assert only["description"] == "Mine."
        assert (await http.get("/v1/models/openhands_a")).json()["owned_by"] == "trunkline"


@pytest.mark.parametrize(
    ("model", "status", "code", "words"),
    [
        ("openhands_nope", 404, "model_not_found", "Profile 'nope' not found"),
        ("openhands_a/b", 400, "invalid_value", "Invalid profile name: 'a/b'"),
        ("openhands_", 400, "invalid_value", "Invalid profile name"),
        ("openhands_*", 400, "invalid_value", "Invalid profile name"),
        ("openhands_a\n", 400, "invalid_value", "Invalid profile name"),
        ("openhands", 404, "model_not_found", "does not exist"),
    ],
)
async def test_models_that_are_no_profile(
    model: str, status: int, code: str, words: str, redis_url: str
) -> None:
    async with api(redis_url) as http:
        reply = await http.post("/v1/chat/completions", json=asking(model))
    assert reply.status_code == status
    error = reply.json()["error"]
    assert (error["code"], error["param"]) == (code, "model")
    assert words in error["message"]


async def test_only_principals_that_may_use_a_profile_reach_it(redis_url: str) -> None:
    keys = ApiKeys(((DIGEST, Principal("limited", models=("other",))),))
    async with api(redis_url) as admin, api(redis_url, keys) as http:
        await save(admin, "a")
        headers = {"authorization": "Bearer k"}
        asked = asking("openhands_a")
        reply = await http.post("/v1/chat/completions", json=asked, headers=headers)
        assert reply.status_code == 403


async def test_only_admins_see_or_change_profiles(redis_url: str) -> None:
    keys = ApiKeys(((DIGEST, Principal("limited", admin=False)),))
    async with api(redis_url, keys) as http:
        http.headers["authorization"] = "Bearer k"
        replies = [
            await http.get("/api/profiles"),
            await http.get("/api/profiles/a"),
            await save(http, "a"),
            await http.delete("/api/profiles/a"),
            await http.post("/api/profiles/a/validate", json={"llm": LLM}),
        ]
    assert [reply.status_code for reply in replies] == [403] * 5
    assert replies[0].json()["error"]["code"] == "admin_only"


async def test_saves_of_two_processes_at_once_are_all_kept(redis_url: str) -> None:
    async with api(redis_url) as one, api(redis_url) as other:
        saves = [save((one, other)[n % 2], f"p{n}") for n in range(60)]
        statuses = [reply.status_code for reply in await asyncio.gather(*saves)]
        assert sorted(statuses) == [201] * 50 + [409] * 10
        kept = {each["name"] for each in (await one.get("/api/profiles")).json()["profiles"]}
        assert kept == {f"p{n}" for n, status in enumerate(statuses) if status == 201}


async def test_the_active_one_follows_its_name_and_ends_with_it(redis_url: str) -> None:
    async def active() -> Any:
        return (await http.get("/api/profiles")).json()["active_profile"]

    async with api(redis_url) as http:
        await save(http, "a")
        await http.post("/api/profiles/a/activate")
        await http.post("/api/profiles/a/rename", json={"new_name": "b"})
        assert await active() == "b"
        await http.delete("/api/profiles/b")
        assert await active() is None


async def test_a_renamed_profile_keeps_everything(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a", temperature=0.3)
        before = await config_of(http, "a", "plaintext")
        await http.post("/api/profiles/a/rename", json={"new_name": "b"})
        assert await config_of(http, "b", "plaintext") == before
        assert (await http.get("/api/profiles/a")).status_code == 404


async def test_a_profile_of_another_secret_key_is_told_and_can_be_replaced(redis_url: str) -> None:
    async with api(redis_url) as before, api(redis_url, secret_key="rotated") as http:
        await save(before, "a")
        reply = await http.get("/api/profiles/a")
        assert reply.status_code == 409
        assert "TRUNKLINE_SECRET_KEY" in reply.json()["detail"]
        (listed,) = (await http.get("/api/profiles")).json()["profiles"]
        assert (listed["name"], listed["model"], listed["api_key_set"]) == ("a", None, False)
        assert [model["id"] for model in await models_of(http)] == ["openhands_a"]
        assert (await save(http, "a")).status_code == 201
        assert (await http.get("/api/profiles/a")).status_code == 200


async def test_a_damaged_record_is_told_without_what_is_in_it(redis_url: str) -> None:
    redis = make_blocking_redis(CommonSettings(redis_url=redis_url))
    redis.hset(Keys(PREFIX).profiles, "a", '{"v": 1, "llm": {"model": 7, "api_key": "sk-x"}}')
    redis.close()
    async with api(redis_url) as http:
        reply = await http.get("/api/profiles/a")
    assert reply.status_code == 409
    assert "damaged" in reply.json()["detail"]
    assert "sk-x" not in reply.text


async def test_the_server_tells_its_version_to_holders_of_a_key(redis_url: str) -> None:
    async with api(redis_url, api_key=("k",)) as http:
        assert (await http.get("/server_info")).status_code == 401
        reply = await http.get("/server_info", headers={"x-session-api-key": "k"})
    value = reply.json()
    assert value["title"] == "Trunkline"
    assert {"uptime", "python_version", "docs", "redoc"} <= value.keys()
    assert value["usable_tools"] == value["capabilities"] == []
    assert value["version"] != value["sdk_version"] == "unknown"


async def test_while_redis_is_away_profiles_are_503_soon() -> None:
    with RedisServer() as server:
        async with api(server.url, submit_retry_s=0.1) as http:
            server.pause()
            replies = [
                await http.get("/api/profiles"),
                await http.get("/v1/models"),
                await http.post("/v1/chat/completions", json=asking("openhands_a")),
            ]
            server.resume()
    assert [reply.status_code for reply in replies] == [503] * 3
    assert {reply.json()["error"]["code"] for reply in replies} == {"redis_unavailable"}


async def test_the_reference_describes_the_bodies(redis_url: str) -> None:
    async with api(redis_url) as http:
        document = (await http.get("/openapi.json")).json()
    save_body = document["paths"]["/api/profiles/{name}"]["post"]["requestBody"]
    assert save_body["content"]["application/json"]["schema"]["$ref"].endswith("/SaveProfile")
    assert {"SaveProfile", "Llm"} <= document["components"]["schemas"].keys()
