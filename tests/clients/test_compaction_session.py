"""The Agents SDK's session that has its history compacted by the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import agents
import httpx
import openai
import pytest
from agents.memory import OpenAIResponsesCompactionSession

from tests.clients.conftest import SESSION_KEY
from tests.fakes.system import System

AGENT = "gpt-4-custom"  # the session takes no models of other names


@pytest.fixture(autouse=True)
def untraced() -> None:
    agents.set_tracing_disabled(True)


@pytest.fixture
async def asking(session_system: System) -> AsyncIterator[openai.AsyncOpenAI]:
    session_system.upstream.reset()
    async with openai.AsyncOpenAI(
        base_url=session_system.base_url(), api_key=SESSION_KEY, max_retries=0, timeout=60
    ) as client:
        yield client


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize("mode", ["input", "previous_response_id"])
async def test_a_session_is_compacted_and_goes_on(
    asking: openai.AsyncOpenAI, session_system: System, mode: Any
) -> None:
    session = OpenAIResponsesCompactionSession(
        "s",
        agents.SQLiteSession("s"),
        client=asking,
        model=AGENT,
        compaction_mode=mode,
        should_trigger_compaction=lambda context: len(context["session_items"]) >= 4,
    )
    model = agents.OpenAIResponsesModel(AGENT, asking)
    agent = agents.Agent(name="helper", instructions="Be brief.", model=model)
    async with asyncio.timeout(60):
        await agents.Runner.run(agent, "one", session=session)
        assert "compaction" not in await kinds(session)
        await agents.Runner.run(agent, "two", session=session)
        assert await kinds(session) == ["message", "message", "compaction"]
        await agents.Runner.run(agent, "three", session=session)
    *_, asked, _ = session_system.upstream.requests()  # the last one compacts it again
    contents = [message["content"] for message in asked["body"]["messages"]]
    assert (contents[0], contents[-1]) == ("You are a helpful assistant.", "three")
    assert {"one", "two"} < {*contents}
    assert any(content.startswith("[Summary of the earlier") for content in contents)


async def kinds(session: OpenAIResponsesCompactionSession) -> list[str]:
    return [str(item.get("type", "message")) for item in await session.get_items()]


async def test_a_profile_counts_and_sums_up_without_beginning_a_conversation(
    asking: openai.AsyncOpenAI, session_system: System
) -> None:
    url, headers = session_system.url(), {"X-Session-API-Key": SESSION_KEY}
    where = session_system.upstream.base_url
    about = {"model": "openai/words-3", "api_key": "sk-x", "base_url": where}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
        body = {"llm": about, "include_secrets": True}
        assert (await http.post("/api/profiles/short", json=body)).status_code == 201
        before = (await http.get("/api/conversations/count")).json()
        for path in ("compact", "input_tokens"):
            asked = {"model": "openhands_short", "input": "one two"}
            reply = await http.post(f"/v1/responses/{path}", json=asked)
            assert reply.status_code == 200, reply.text
            assert "x-conversation-id" not in reply.headers
        assert (await http.get("/api/conversations/count")).json() == before
