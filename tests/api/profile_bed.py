"""An API process over a real Redis, without a socket, for what is asked of /api/profiles."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from trunkline_api.api import build_application
from trunkline_api.auth import ApiKeys
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.connection import make_redis

PREFIX = "profiles"
SECRET_KEY = "the deployment's own"
API_KEY = "sk-planted-0123456789"
LLM = {"model": "openai/gpt-5-nano", "api_key": API_KEY}


@asynccontextmanager
async def api(
    redis_url: str,
    keys: ApiKeys | None = None,
    agents: Mapping[str, AgentConfig] | None = None,
    **settings: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """`settings` are fields of ApiSettings."""
    settings = {"secret_key": SECRET_KEY, **settings}
    read = ApiSettings(redis_url=redis_url, prefix=PREFIX, **settings)
    config = Config(path="agents.yml", agents=dict(agents or {}))
    redis = make_redis(read, socket_timeout=None, health_check_interval=0)
    application = build_application(read, config, redis, keys or ApiKeys.from_settings(read))
    transport = httpx.ASGITransport(application.asgi, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url="http://api")
    async with application.running(), client as http:
        yield http
    await redis.aclose()


async def save(http: httpx.AsyncClient, name: str, **llm: Any) -> httpx.Response:
    return await http.post(f"/api/profiles/{name}", json={"llm": {**LLM, **llm}})


async def config_of(http: httpx.AsyncClient, name: str, expose: str = "") -> dict[str, Any]:
    headers = {"x-expose-secrets": expose} if expose else {}
    reply = await http.get(f"/api/profiles/{name}", headers=headers)
    assert reply.status_code == 200, reply.text
    config: dict[str, Any] = reply.json()["config"]
    return config
