"""The server's routes inside another ASGI program."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.patience import PATIENCE_S, until
from tests.python_api.host import ECHO, SLOW, asked, said
from trunkline import AgentPool, OpenAIAPIServer

pytestmark = pytest.mark.redis


@asynccontextmanager
async def listening(app: object) -> AsyncIterator[httpx.AsyncClient]:
    """A host's own uvicorn, lifespan and all, as a task of this loop."""
    host = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))  # type: ignore[arg-type]
    task = asyncio.create_task(host._serve())  # `serve` would take the signals of the tests
    await until(lambda: host.started or task.done())
    port = host.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S
    ) as client:
        yield client
    host.should_exit = True
    await task


def hosted(server: OpenAIAPIServer) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with server:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/ai", server.app)

    @app.get("/own")
    def own() -> str:
        return "mine"

    return app


async def test_a_fastapi_program_serves_it_below_a_path_of_its_own() -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"a": ECHO}}), api_key="secret")
    async with listening(hosted(server)) as client:
        assert (await client.get("/own")).json() == "mine"
        assert await said(client, "x", "a", base="/ai") == "401 invalid_api_key"
        client.headers["authorization"] = "Bearer secret"
        assert await said(client, "x", "a", base="/ai") == "x"
        assert (await client.get("/ai/v1/models/a")).json()["id"] == "a"
        assert (await client.get("/ai/v1/nothing")).json()["error"]["code"] == "unknown_url"
        assert (await client.get("/ai/docs")).status_code == 200
        assert "/v1/models" in (await client.get("/ai/openapi.json")).json()["paths"]
        body = asked("one two", "a", stream=True)
        async with client.stream("POST", "/ai/v1/chat/completions", json=body) as reply:
            lines = [line async for line in reply.aiter_lines()]
        assert lines[-2] == "data: [DONE]"


async def test_two_servers_may_be_mounted_side_by_side() -> None:
    servers = [OpenAIAPIServer(AgentPool({"agents": {name: ECHO}})) for name in "ab"]
    app = Starlette(routes=[Mount(f"/{i}", server.app) for i, server in enumerate(servers)])
    async with servers[0], servers[1], listening(app) as client:
        assert await said(client, "x", "a", base="/0") == "x"
        assert await said(client, "x", "b", base="/1") == "x"
        assert await said(client, "x", "a", base="/1") == "404 model_not_found"


async def test_before_and_after_it_is_entered_it_answers_503_in_the_envelope() -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"a": ECHO}}))
    async with listening(Starlette(routes=[Mount("/ai", server.app)])) as client:
        assert await said(client, "x", "a", base="/ai") == "503 server_not_running"
        async with server:
            assert await said(client, "x", "a", base="/ai") == "x"
        reply = await client.get("/ai/v1/models")
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert reply.headers["x-request-id"].startswith("req_")
        assert reply.headers["retry-after"]


async def test_run_by_itself_it_enters_the_server_for_its_lifespan() -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"a": ECHO}}))
    async with listening(server.app) as client:
        assert await said(client, "x", "a") == "x"


async def test_replies_in_hand_are_seen_off_when_the_server_ends() -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"slow": SLOW}}), grace_s=0.2, drain_s=1)
    lines: list[str] = []
    async with listening(Starlette(routes=[Mount("/ai", server.app)])) as client:

        async def read() -> None:
            body = asked("word", "slow", stream=True)
            async with client.stream("POST", "/ai/v1/chat/completions", json=body) as reply:
                async for line in reply.aiter_lines():
                    lines.append(line)

        async with server:
            reading = asyncio.create_task(read())
            await until(lambda: lines)
        await reading
    assert "api_draining" in "".join(lines)
