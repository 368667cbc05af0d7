"""/api/profiles replays what OpenHands' agent server was seen to answer, field by field."""

from typing import Any

import httpx
import pytest

from tests.api.profile_bed import LLM, api, save

pytestmark = pytest.mark.redis

DEFAULTS: dict[str, Any] = {
    "api_key": None,
    "provider_connection_id": None,
    "auth_type": "api_key",
    "subscription_vendor": None,
    "base_url": None,
    "api_version": None,
    "aws_access_key_id": None,
    "aws_secret_access_key": None,
    "aws_session_token": None,
    "aws_region_name": None,
    "aws_profile_name": None,
    "aws_role_name": None,
    "aws_session_name": None,
    "aws_bedrock_runtime_endpoint": None,
    "openrouter_site_url": "https://docs.all-hands.dev/",
    "openrouter_app_name": "OpenHands",
    "num_retries": 5,
    "retry_multiplier": 8.0,
    "retry_min_wait": 8,
    "retry_max_wait": 64,
    "timeout": 300,
    "stream_idle_timeout": 300,
    "max_message_chars": 30000,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "max_input_tokens": None,
    "max_output_tokens": None,
    "model_canonical_name": None,
    "api_mode": "auto",
    "capability_overrides": {},
    "extra_headers": None,
    "input_cost_per_token": None,
    "output_cost_per_token": None,
    "ollama_base_url": None,
    "stream": False,
    "drop_params": True,
    "disable_vision": None,
    "disable_stop_word": False,
    "caching_prompt": True,
    "log_completions": False,
    "log_completions_folder": "logs/completions",
    "custom_tokenizer": None,
    "native_tool_calling": True,
    "force_string_serializer": None,
    "inline_image_urls": None,
    "reasoning_effort": "high",
    "reasoning_summary": None,
    "enable_encrypted_reasoning": True,
    "prompt_cache_retention": "24h",
    "extended_thinking_budget": 200_000,
    "seed": None,
    "usage_id": "default",
    "litellm_extra_body": {},
    "is_subscription": False,
}
OURS = {"max_tokens_field"}


async def test_the_calls_of_the_example_in_their_order(redis_url: str) -> None:
    async with api(redis_url, session_api_key=("s",)) as http:
        http.headers["x-session-api-key"] = "s"
        body = {"llm": LLM, "include_secrets": True}
        saved = await http.post("/api/profiles/gateway_demo", json=body)
        assert saved.status_code == 201
        assert saved.json() == {"name": "gateway_demo", "message": "Profile 'gateway_demo' saved"}
        listed = await http.get("/v1/models", headers={"authorization": "Bearer s"})
        assert [model["id"] for model in listed.json()["data"]] == ["openhands_gateway_demo"]
        deleted = await http.delete("/api/profiles/gateway_demo")
        assert deleted.status_code == 200
        message = "Profile 'gateway_demo' deleted"
        assert deleted.json() == {"name": "gateway_demo", "message": message}
        assert (await http.delete("/api/profiles/gateway_demo")).status_code == 200


async def test_a_profile_has_all_fields_with_their_defaults(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "demo", unheard_of=1)
        reply = await http.get("/api/profiles/demo")
    assert reply.status_code == 200
    value = reply.json()
    assert value.keys() == {"name", "config", "api_key_set"}
    assert (value["name"], value["api_key_set"]) == ("demo", True)
    config = {key: each for key, each in value["config"].items() if key not in OURS}
    assert config == {**DEFAULTS, "model": LLM["model"]}


async def test_the_list_has_its_fields_and_the_active_one(redis_url: str) -> None:
    async with api(redis_url) as http:
        empty = await http.get("/api/profiles")
        assert empty.json() == {"profiles": [], "active_profile": None}
        await save(http, "demo", base_url="http://127.0.0.1:1/v1")
        activated = await http.post("/api/profiles/demo/activate")
        assert activated.status_code == 200
        assert activated.json() == {
            "name": "demo",
            "message": "Profile 'demo' activated and applied to current settings",
            "llm_applied": True,
        }
        listed = await http.get("/api/profiles")
    assert listed.json() == {
        "profiles": [
            {
                "name": "demo",
                "model": LLM["model"],
                "base_url": "http://127.0.0.1:1/v1",
                "provider_connection_id": None,
                "provider_connection_broken": False,
                "api_key_set": True,
            }
        ],
        "active_profile": "demo",
    }


async def rename(http: httpx.AsyncClient, name: str, new_name: str) -> httpx.Response:
    return await http.post(f"/api/profiles/{name}/rename", json={"new_name": new_name})


async def test_renaming_answers_200_404_and_409(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a")
        await save(http, "b")
        same = await rename(http, "a", "a")
        assert same.json() == {"name": "a", "message": "Profile 'a' unchanged (same name)"}
        moved = await rename(http, "a", "c")
        assert moved.json() == {"name": "c", "message": "Profile 'a' renamed to 'c'"}
        missing = await rename(http, "a", "d")
        assert (missing.status_code, missing.json()["detail"]) == (404, "Profile 'a' not found")
        taken = await rename(http, "b", "c")
        assert (taken.status_code, taken.json()["detail"]) == (409, "Profile 'c' already exists")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/api/profiles/x", None, 404, "Profile 'x' not found"),
        ("POST", "/api/profiles/x/activate", None, 404, "Profile 'x' not found"),
        ("PATCH", "/api/profiles/x", {}, 405, "Method Not Allowed"),
        ("PUT", "/api/profiles/x", {}, 405, "Method Not Allowed"),
    ],
)
async def test_refusals_have_their_words(
    method: str, path: str, body: Any, status: int, detail: str, redis_url: str
) -> None:
    async with api(redis_url) as http:
        reply = await http.request(method, path, json=body)
    assert (reply.status_code, reply.json()["detail"]) == (status, detail)


@pytest.mark.parametrize(
    ("path", "body", "kind", "loc"),
    [
        ("/api/profiles/.x", {"llm": LLM}, "string_pattern_mismatch", ["path", "name"]),
        ("/api/profiles/" + "x" * 65, {"llm": LLM}, "string_too_long", ["path", "name"]),
        ("/api/profiles/a%20b", {"llm": LLM}, "string_pattern_mismatch", ["path", "name"]),
        ("/api/profiles/x", {}, "missing", ["body", "llm"]),
        ("/api/profiles/x", {"llm": {"api_key": "sk-1"}}, "missing", ["body", "llm", "model"]),
        ("/api/profiles/x/rename", {}, "missing", ["body", "new_name"]),
        ("/api/profiles/x/rename", {"new_name": "a/b"}, "string_pattern_mismatch", None),
        ("/api/profiles/x/validate", {}, "missing", ["body", "llm"]),
    ],
)
async def test_what_cannot_be_processed_is_422_with_fastapis_list(
    path: str, body: Any, kind: str, loc: list[str] | None, redis_url: str
) -> None:
    async with api(redis_url) as http:
        reply = await http.post(path, json=body)
    assert reply.status_code == 422
    mistake = reply.json()["detail"][0]
    assert mistake.keys() == {"type", "loc", "msg"}
    assert mistake["type"] == kind
    assert mistake["loc"] == (loc or ["body", "new_name"])
    assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


async def test_there_are_at_most_fifty(redis_url: str) -> None:
    async with api(redis_url) as http:
        for number in range(50):
            assert (await save(http, f"p{number}")).status_code == 201
        refused = await save(http, "one-more")
        assert (refused.status_code, refused.json()["detail"]) == (
            409,
            "Profile limit reached (50). Delete a profile before saving a new one.",
        )
        assert (await save(http, "p7", model="openai/other")).status_code == 201


async def test_a_key_is_wanted_in_either_header(redis_url: str) -> None:
    async with api(redis_url, api_key=("k",)) as http:
        refused = await http.get("/api/profiles")
        assert refused.status_code == 401
        assert refused.json()["detail"] == "Unauthorized"
        assert refused.json()["error"]["code"] == "invalid_api_key"
        for headers in ({"x-session-api-key": "k"}, {"authorization": "Bearer k"}):
            assert (await http.get("/api/profiles", headers=headers)).status_code == 200
        slashed = await http.get("/api/profiles/", headers={"x-session-api-key": "k"})
        assert (slashed.status_code, slashed.headers["location"]) == (307, "/api/profiles")
