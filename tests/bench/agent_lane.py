"""`python -m tests.bench.agent_lane`: what a run and a token cost in the agent lane.

CPU microseconds of this process, beside the direct lane and pydantic-ai's own `agent.run()` on its
own client; nothing is published. The upstream is a process of its own. *tool*: a run with a call
of one of the agent's tools between two requests. Medians of 5 rounds, in all about a minute.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING

from tests.fakes.upstream_plan import plan
from tests.worker.agent_lane.agents import agent, bench
from tests.worker.backends import driving
from tests.worker.backends.driving import no_gate, request
from trunkline_shared.events import Finished
from trunkline_worker.backends.base import Backend, RunContext
from trunkline_worker.models import ModelSpec

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from pydantic_ai import Agent

TOKENS = 500
ROUNDS = 5
TOOL = plan({"calls": [("look", {"at": "x"})]}, {"say": "done"})

Run = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def upstream() -> AsyncIterator[str]:
    """Its base URL."""
    command = [sys.executable, "-m", "tests.fakes.upstream", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        yield f"http://127.0.0.1:{int(line.split()[-1])}/v1"
    finally:
        process.terminate()
        await process.wait()


def _ours(backend: Backend) -> Run:
    async def run(prompt: str) -> None:
        *_, end = await backend.run(request(prompt), RunContext(no_gate, lambda _: None, bulk=True))
        assert isinstance(end, Finished), end

    return run


def _theirs(agent: "Agent[None, str]") -> Run:
    async def run(prompt: str) -> None:
        await agent.run(prompt)

    return run


def _pydantic(client: "AsyncOpenAI", model: str) -> "Agent[None, str]":
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(openai_client=client)
    made: Agent[None, str] = Agent(OpenAIChatModel(model, provider=provider))

    @made.tool_plain
    async def look(at: str) -> str:
        """Does look."""
        return f"saw {at}"

    return made


async def _cost_us(run: Run, prompt: str, runs: int) -> float:
    for _ in range(runs // 5 + 1):
        await run(prompt)
    began = time.process_time()
    for _ in range(runs):
        await run(prompt)
    return (time.process_time() - began) / runs * 1e6


async def measure(runs: int) -> Mapping[str, Mapping[str, float]]:
    """Of each system: `run` with one word, `token` beyond it, `tool`."""
    figures: dict[str, dict[str, float]] = {}
    async with upstream() as url, AsyncExitStack() as stack:

        async def lane(name: str) -> Run:
            made = agent(_spec(url, name), toolsets=[bench()])
            return _ours(await stack.enter_async_context(made))

        async def direct(name: str) -> Run:
            return _ours(await stack.enter_async_context(driving.chat(_spec(url, name))))

        async def pydantic(name: str) -> Run:
            from openai import AsyncOpenAI

            client = await stack.enter_async_context(AsyncOpenAI(base_url=url, api_key="k"))
            return _theirs(_pydantic(client, name))

        for system, make in (("direct", direct), ("lane", lane), ("pydantic-ai", pydantic)):
            one = await _cost_us(await make("words-1"), "hello", runs)
            many = await _cost_us(await make(f"words-{TOKENS}"), "hello", runs)
            figures[system] = {"run": one, "token": (many - one) / (TOKENS - 1)}
            if system != "direct":
                figures[system]["tool"] = await _cost_us(await make("plan"), TOOL, runs)
    return figures


def _spec(url: str, name: str) -> ModelSpec:
    return ModelSpec(provider="vllm", name=name, base_url=url)


def _main() -> None:
    rounds = [asyncio.run(measure(100)) for _ in range(ROUNDS)]
    for system, names in rounds[0].items():
        medians = {name: median(each[system][name] for each in rounds) for name in names}
        print(f"{system:12}", *(f"{name} {value:9.1f} µs" for name, value in medians.items()))


if __name__ == "__main__":
    _main()
