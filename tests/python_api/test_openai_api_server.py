"""A server inside a program: what it serves, and what changes while it does."""

import asyncio
import socket
from pathlib import Path

import httpx
import openai
import pytest

from tests.fakes.upstream import FakeUpstream, words
from tests.patience import PATIENCE_S, until
from tests.python_api.host import ECHO, SLOW, asked, client_of, program, said, serving
from trunkline import AgentPool, OpenAIAPIServer
from trunkline_shared.errors import ConfigError, StartError

pytestmark = pytest.mark.redis

# As documented for the program that this one replaces, but for the line of the import.
SNIPPET = """
import anyio
from trunkline import AgentPool, OpenAIAPIServer

async def main():
    pool = AgentPool()
    await pool.add_agent("gpt-4-custom", model="openai:gpt-4")

    server = OpenAIAPIServer(
        pool,
        host="0.0.0.0",
        port=8000,
        cors=True,
        docs=True,
        api_key="your-api-key",
    )
    async with server, server.run_context():
        await anyio.sleep_forever()

anyio.run(main)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


async def answering(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE_S):
        while True:
            try:
                if (await client.get(f"{url}/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.02)


async def test_a_program_written_for_agentpool_serves_the_openai_client(tmp_path: Path) -> None:
    port = free_port()
    text = SNIPPET.replace("0.0.0.0", "127.0.0.1").replace("8000", str(port))
    text = text.replace("openai:gpt-4", "openai:words-3")
    async with FakeUpstream() as upstream:
        keys = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "upstream-secret"}
        with program(tmp_path, text, **keys) as host:
            await answering(f"http://127.0.0.1:{port}")
            async with openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{port}/v1",
                api_key="your-api-key",
                http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
            ) as client:
                assert [model.id async for model in client.models.list()] == ["gpt-4-custom"]
                stream = await client.chat.completions.create(
                    model="gpt-4-custom", messages=[{"role": "user", "content": "x"}], stream=True
                )
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
                assert text == words(3)
                with pytest.raises(openai.AuthenticationError):
                    await client.with_options(api_key="wrong").models.list()
            host.terminate()
            _, errors = await asyncio.to_thread(host.communicate, timeout=PATIENCE_S)
        assert errors == ""
    (request,) = upstream.requests
    assert request.headers["authorization"] == "Bearer upstream-secret"


async def test_the_port_answers_when_started_is_set_and_no_longer_than_the_block() -> None:
    server = OpenAIAPIServer(AgentPool(), port=0)
    assert (server.port, server.started.is_set()) == (0, False)
    async with server:
        async with server.run_context() as same, client_of(server) as client:
            assert same is server
            assert server.started.is_set()
            assert server.url == f"http://127.0.0.1:{server.port}"
            assert (await client.get("/ready")).status_code == 200
            assert (await client.get("/docs")).status_code == 200
        assert not server.started.is_set()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(client.base_url.port or 0))


async def test_what_is_stored_can_be_asked_for_without_any_setting() -> None:
    async with serving(AgentPool({"agents": {"a": ECHO}})) as client:
        made = (await client.post("/v1/responses", json={"model": "a", "input": "x"})).json()
        found = (await client.get(f"/v1/responses/{made['id']}")).json()
        assert found["output"] == made["output"]
        assert found["output"][0]["content"][0]["text"] == "x"


async def test_docs_and_cors_are_as_one_says() -> None:
    async with serving(AgentPool(), docs=False, cors=["https://a.example"]) as client:
        assert (await client.get("/docs")).status_code == 404
        reply = await client.get("/v1/models", headers={"origin": "https://a.example"})
        assert reply.headers["access-control-allow-origin"] == "https://a.example"


async def test_an_agent_that_is_added_is_listed_and_answers_at_once() -> None:
    pool = AgentPool()
    async with serving(pool) as client:
        assert await said(client, "hello", "late") == "404 model_not_found"
        await pool.add_agent("late", **ECHO)
        assert await said(client, "hello", "late") == "hello"
        listed = (await client.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["late"]


async def test_an_agent_that_is_removed_is_404_at_once_and_its_runs_end_as_they_would() -> None:
    pool = AgentPool({"agents": {"a": {"model": "echo", "echo": {"words": 40}}}})
    async with serving(pool) as client:
        body = asked("word", "a", stream=True)
        async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
            lines = reply.aiter_lines()
            await anext(lines)
            await pool.remove_agent("a")
            assert await said(client, "x", "a") == "404 model_not_found"
            await pool.add_agent("a", **ECHO)
            assert await said(client, "the new one", "a") == "the new one"
            rest = [line async for line in lines]
        assert rest[-2] == "data: [DONE]"
        assert sum('"content"' in line for line in rest) > 10


async def test_an_agent_without_its_key_is_listed_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    pool = AgentPool({"agents": {"keyless": {"model": "openai:gpt-4"}, "echo": ECHO}})
    async with serving(pool) as client:
        assert await said(client, "x", "keyless") == "503 agent_unavailable"
        await pool.add_agent("another", model="openai:gpt-4")
        assert await said(client, "x", "another") == "503 agent_unavailable"
        assert await said(client, "x", "echo") == "x"


async def test_the_pools_of_a_server_are_those_of_its_start() -> None:
    pool = AgentPool({"agents": {"a": {**ECHO, "pool": "coding"}}})
    async with serving(pool) as client:
        assert await said(client, "x", "a") == "x"
        with pytest.raises(ConfigError, match=r"^agents\.b\.pool: .*coding.*, not 'other'"):
            await pool.add_agent("b", pool="other", **ECHO)
        assert await said(client, "x", "b") == "404 model_not_found"


async def test_two_servers_on_one_pool_both_follow_it() -> None:
    pool = AgentPool()
    async with serving(pool) as one, serving(pool) as two:
        await pool.add_agent("a", **ECHO)
        assert [await said(client, "x", "a") for client in (one, two)] == ["x", "x"]
    async with serving(pool, api_key=["k"]) as one:
        one.headers["authorization"] = "Bearer k"
        assert await said(one, "x", "a") == "x"


async def test_servers_that_share_a_redis_share_its_workers(redis_url: str) -> None:
    pool = AgentPool({"agents": {"a": ECHO}})
    async with (
        serving(pool, redis_url=redis_url, prefix="one") as one,
        serving(pool, redis_url=redis_url, prefix="one") as two,
    ):
        replies = await asyncio.gather(*[said(c, "x", "a") for c in (one, two) * 5])
        assert replies == ["x"] * 10


async def test_serve_goes_on_until_it_is_cancelled_and_may_begin_again() -> None:
    server = OpenAIAPIServer(AgentPool({"agents": {"a": ECHO}}), port=0)
    for _ in range(2):
        task = asyncio.create_task(server.serve())
        await until(server.started.is_set)
        async with client_of(server) as client:
            assert await said(client, "x", "a") == "x"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not server.started.is_set()


async def test_a_reply_may_end_within_the_grace_and_is_told_at_its_end() -> None:
    pool = AgentPool({"agents": {"soon": {"model": "echo", "echo": {"words": 8}}, "slow": SLOW}})
    server = OpenAIAPIServer(pool, port=0, grace_s=2, drain_s=1)
    async with client_of(server) as client, server:
        lines: dict[str, list[str]] = {"soon": [], "slow": []}

        async def read(agent: str) -> None:
            body = asked("word", agent, stream=True)
            async with client.stream("POST", f"{server.url}/v1/chat/completions", json=body) as r:
                async for line in r.aiter_lines():
                    lines[agent].append(line)

        async with server.run_context():
            tasks = [asyncio.create_task(read(agent)) for agent in lines]
            await until(lambda: all(lines.values()))
        await asyncio.gather(*tasks)
    assert lines["soon"][-2] == "data: [DONE]"
    assert "api_draining" in "".join(lines["slow"])


async def test_misuse_is_told(tmp_path: Path) -> None:
    server = OpenAIAPIServer(AgentPool(), port=0, data_dir=tmp_path)
    with pytest.raises(RuntimeError, match="enter the server first"):
        async with server.run_context():
            raise AssertionError
    async with server, server.run_context():
        with pytest.raises(RuntimeError, match="entered already"):
            await server.__aenter__()
        other = OpenAIAPIServer(AgentPool(), port=server.port)
        async with other:
            with pytest.raises(StartError, match=f"port {server.port} on 127.0.0.1 is in use"):
                await other.run_context().__aenter__()
        with pytest.raises(StartError, match="in use by another"):
            await OpenAIAPIServer(AgentPool(), data_dir=tmp_path).__aenter__()
    with pytest.raises(StartError, match="unreachable"):
        await OpenAIAPIServer(AgentPool(), redis_url="redis://127.0.0.1:1").__aenter__()
    async with server:  # none of that keeps it from being entered again
        assert server.port == 0
