"""Secrets of profiles: sealed in Redis, hidden in replies, and never in an error."""

from typing import Any

import pytest

from tests.api.profile_bed import API_KEY, LLM, PREFIX, SECRET_KEY, api, config_of, save
from trunkline_shared.connection import make_blocking_redis
from trunkline_shared.keys import Keys
from trunkline_shared.llm import MASK
from trunkline_shared.settings import CommonSettings
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis

SECRETS = {
    "aws_access_key_id": "AKIA-planted",
    "aws_secret_access_key": "aws-planted",
    "aws_session_token": "session-planted",
}
HEADERS = {"Authorization": "Bearer planted", "X-Api-Key": "header-planted", "X-Team": "red"}


def stored(redis_url: str) -> dict[bytes, bytes]:
    redis = make_blocking_redis(CommonSettings(redis_url=redis_url))
    found: dict[bytes, bytes] = redis.hgetall(Keys(PREFIX).profiles)  # type: ignore[assignment]
    redis.close()
    return found


async def test_nothing_of_a_record_is_in_clear_in_redis(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a", base_url="http://127.0.0.1:1/v1")
    (record,) = stored(redis_url).values()
    assert Vault.is_token(record)
    for clear in (b"planted", b"gpt-5-nano", b"127.0.0.1"):
        assert clear not in record


async def test_without_being_asked_no_secret_is_shown(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a", **SECRETS, extra_headers=HEADERS)
        config = await config_of(http, "a")
        listed = await http.get("/api/profiles")
    assert config["api_key"] is None
    assert {config[name] for name in SECRETS} == {MASK}
    assert config["extra_headers"] == {"Authorization": MASK, "X-Api-Key": MASK, "X-Team": "red"}
    assert "planted" not in f"{config}{listed.text}"


async def test_plaintext_shows_all_and_encrypted_what_can_be_saved_again(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a", **SECRETS, extra_headers=HEADERS)
        plain = await config_of(http, "a", "plaintext")
        assert {name: plain[name] for name in SECRETS} == SECRETS
        assert (plain["api_key"], plain["extra_headers"]) == (API_KEY, HEADERS)
        encrypted = await config_of(http, "a", "encrypted")
        assert "planted" not in str(encrypted)
        assert Vault(SECRET_KEY).open(encrypted["api_key"].encode()) == API_KEY.encode()
        await http.post("/api/profiles/b", json={"llm": encrypted})
        assert await config_of(http, "b", "plaintext") == plain


async def test_a_mask_that_comes_back_is_no_secret(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a", **SECRETS, extra_headers=HEADERS)
        await http.post("/api/profiles/b", json={"llm": await config_of(http, "a")})
        config = await config_of(http, "b", "plaintext")
    assert {config[name] for name in ("api_key", *SECRETS)} == {None}
    assert config["extra_headers"] == {"X-Team": "red"}


async def test_secrets_that_are_not_to_be_kept_are_dropped(redis_url: str) -> None:
    body = {"llm": {**LLM, **SECRETS, "extra_headers": HEADERS}, "include_secrets": False}
    async with api(redis_url) as http:
        assert (await http.post("/api/profiles/a", json=body)).status_code == 201
        config = await config_of(http, "a", "plaintext")
        assert (await http.get("/api/profiles/a")).json()["api_key_set"] is False
    assert "planted" not in str(config)
    assert config["extra_headers"] == {"X-Team": "red"}


async def test_an_unknown_way_to_expose_is_400(redis_url: str) -> None:
    async with api(redis_url) as http:
        await save(http, "a")
        reply = await http.get("/api/profiles/a", headers={"x-expose-secrets": "Yes"})
    assert reply.status_code == 400
    words = "Invalid X-Expose-Secrets header value: 'yes'. "
    assert reply.json()["detail"] == words + "Valid values are: 'encrypted', 'plaintext'."


async def test_without_a_secret_key_secrets_are_refused_and_the_rest_is_kept(
    redis_url: str,
) -> None:
    async with api(redis_url, secret_key=None) as http:
        refused = await save(http, "a")
        assert refused.status_code == 409
        assert "TRUNKLINE_SECRET_KEY" in refused.json()["detail"]
        assert API_KEY not in refused.text
        assert (await save(http, "a", api_key=None)).status_code == 201
        assert (await config_of(http, "a"))["model"] == LLM["model"]
        checked = await http.post("/api/profiles/a/validate", json={"llm": LLM})
        assert checked.status_code == 409
        shown = await http.get("/api/profiles/a", headers={"x-expose-secrets": "encrypted"})
        assert shown.status_code == 503
    (record,) = stored(redis_url).values()
    assert not Vault.is_token(record)


@pytest.mark.parametrize(
    ("llm", "param", "words"),
    [
        ({"auth_type": "subscription"}, "llm.auth_type", "use an api_key"),
        ({"model": " "}, "llm.model", "names no model"),
        ({"temperature": -1}, "llm.temperature", "greater than or equal to 0"),
        ({"seed": 2**70}, "llm.seed", "less than"),
        ({"litellm_extra_body": {"a": 2**70}}, "llm.litellm_extra_body", "64 bits"),
        ({"api_key": "sk-planted\r\nx: y"}, "llm.api_key", "no line breaks"),
        ({"extra_headers": {"a b": "planted"}}, "llm.extra_headers", "a header has a name"),
        ({"extra_headers": {"a": "planted\n"}}, "llm.extra_headers", "a header has a name"),
        ({"base_url": "http://u:planted@h/v1"}, "llm.base_url", "use api_key instead"),
        ({"base_url": "ftp://h"}, "llm.base_url", "begins with http:// or https://"),
        ({"base_url": "http://169.254.169.254/"}, "llm.base_url", "link-local"),
        ({"base_url": "http://2852039166/v1"}, "llm.base_url", "link-local"),
        ({"ollama_base_url": "http://metadata.google.internal"}, "llm.ollama_base_url", "metadata"),
        ({"api_key": "gAAAAplanted"}, "llm.api_key", "does not open"),
    ],
)
@pytest.mark.parametrize("path", ["/api/profiles/a", "/api/profiles/a/validate"])
async def test_what_cannot_be_is_422_and_quotes_no_secret(
    path: str, llm: dict[str, Any], param: str, words: str, redis_url: str
) -> None:
    async with api(redis_url) as http:
        reply = await http.post(path, json={"llm": {**LLM, **llm}})
    assert reply.status_code == 422
    error = reply.json()["error"]
    assert error["param"] == param
    assert words in error["message"]
    assert "planted" not in reply.text


async def test_the_operator_may_allow_link_local_addresses(redis_url: str) -> None:
    async with api(redis_url, allow_link_local=True) as http:
        assert (await save(http, "a", base_url="http://169.254.1.1/v1")).status_code == 201


async def test_a_body_is_bounded_and_must_be_json(redis_url: str) -> None:
    async with api(redis_url, max_body_bytes=1000) as http:
        large = await save(http, "a", api_version="x" * 2000)
        broken = await http.post("/api/profiles/a", content=b'{"llm": sk-planted')
    assert large.status_code == 413
    assert broken.status_code == 422
    assert broken.json()["detail"][0]["type"] == "json_invalid"
    assert "planted" not in broken.text
