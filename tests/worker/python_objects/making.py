"""Agents of each framework, over the fake upstream, as backends."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import agents as openai_sdk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from openai import AsyncOpenAI
from pydantic import SecretStr
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.fakes.upstream import FakeUpstream
from tests.worker.python_objects import made
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.run import RunRequest
from trunkline_worker.python_objects.backend import PythonBackend

Making = Callable[..., AbstractAsyncContextManager[PythonBackend]]
calls: list[str] = []


def look(place: str = "here") -> str:
    """Looks."""
    calls.append(place)
    return f"saw {place}"


async def backend_of(thing: Any, **fields: Any) -> PythonBackend:
    """The opened backend of an agent of type python."""
    settings = fields.pop("settings", {})
    made.agent = thing
    path = "tests.worker.python_objects.made:agent"
    backend = PythonBackend(
        AgentConfig(name="test", type="python", object=path, **fields), settings
    )
    await backend.open()
    return backend


@asynccontextmanager
async def client(upstream: FakeUpstream) -> AsyncIterator[AsyncOpenAI]:
    url = upstream.base_url
    async with AsyncOpenAI(base_url=url, api_key="sk-test", max_retries=0) as openai:
        yield openai


@asynccontextmanager
async def pydantic_ai(
    upstream: FakeUpstream, model: str = "words-40", **fields: Any
) -> AsyncIterator[PythonBackend]:
    async with client(upstream) as openai:
        chat = OpenAIChatModel(model, provider=OpenAIProvider(openai_client=openai))
        agent = Agent(chat, system_prompt="Made of code.", tools=[look], name="looker")
        yield await backend_of(agent, **fields)


@asynccontextmanager
async def openai_agents(
    upstream: FakeUpstream, model: str = "words-40", **fields: Any
) -> AsyncIterator[PythonBackend]:
    async with client(upstream) as openai:
        chat = openai_sdk.OpenAIChatCompletionsModel(model, openai)
        tools: list[openai_sdk.Tool] = [openai_sdk.function_tool(look)]
        agent = openai_sdk.Agent(
            name="looker", instructions="Made of code.", model=chat, tools=tools
        )
        yield await backend_of(agent, **fields)


@asynccontextmanager
async def langgraph(
    upstream: FakeUpstream, model: str = "words-40", checkpointer: Any = None, **fields: Any
) -> AsyncIterator[PythonBackend]:
    async with client(upstream) as openai:
        chat = ChatOpenAI(
            model=model,
            async_client=openai.chat.completions,
            root_async_client=openai,
            api_key=SecretStr("sk-test"),
            stream_usage=True,
        )
        bound = chat.bind_tools([tool(look)])

        async def think(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await bound.ainvoke(state["messages"])]}

        graph = StateGraph(MessagesState)
        graph.add_node("think", think)
        graph.add_node("tools", ToolNode([tool(look)]))
        graph.set_entry_point("think")
        graph.add_conditional_edges("think", tools_condition)
        graph.add_edge("tools", "think")
        yield await backend_of(graph.compile(checkpointer=checkpointer), **fields)


@asynccontextmanager
async def generator(
    upstream: FakeUpstream, model: str = "words-40", **fields: Any
) -> AsyncIterator[PythonBackend]:
    """Hands on what the upstream says."""
    async with client(upstream) as openai:

        async def agent(request: RunRequest) -> AsyncIterator[str]:
            asked = {"role": "user", "content": "go on"}
            async with await openai.chat.completions.create(
                model=model,
                messages=[asked],  # type: ignore[list-item]  # of that form
                stream=True,
            ) as chunks:
                async for chunk in chunks:
                    if text := chunk.choices[0].delta.content if chunk.choices else "":
                        yield text

        yield await backend_of(agent, **fields)


FRAMEWORKS = [pydantic_ai, openai_agents, langgraph]
