"""Drives LaneModels in tests: through an agent of pydantic-ai, or one request alone."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import ModelRequestParameters

from tests.worker.backends.driving import QUICK, no_gate, request
from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import RunEvent
from trunkline_shared.run import RunRequest
from trunkline_worker.agent_lane.chain import LaneChain, make_chain
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.agent_lane.models import LaneModel
from trunkline_worker.agent_lane.tool_forms import definition_of
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices


@dataclass
class Asked:
    """A run's model, and what it said so far."""

    model: LaneModel
    request: RunRequest
    events: list[RunEvent] = field(default_factory=list)

    async def step(self, **parameters: Any) -> ModelResponse:
        """One request of what the transcript says, with the caller's tools."""
        tools = [definition_of(tool) for tool in self.request.tools]
        defaults: dict[str, Any] = {"function_tools": tools, **parameters}
        messages = to_messages(self.request.transcript)
        return await self.model.request(messages, None, ModelRequestParameters(**defaults))


def asked(chain: LaneChain, run: RunRequest | None = None) -> Asked:
    run = run or request()
    events: list[RunEvent] = []
    model = LaneModel(chain, run, RunContext(no_gate, lambda _: None), events.extend)
    return Asked(model, run, events)


@asynccontextmanager
async def chain_of(
    *specs: ModelSpec,
    limits: Limits | None = None,
    retry: Retry = QUICK,
    silence_timeout_s: float = 5.0,
    connect_timeout_s: float = 5.0,
) -> AsyncIterator[LaneChain]:
    names = tuple(f"{spec.provider}:{spec.name}" for spec in specs)
    agent = AgentConfig(name="test", model=names, limits=limits or Limits())
    client = HttpClient()
    chain = make_chain(
        agent,
        specs,
        client,
        Prices(),
        retry=retry,
        connect_timeout_s=connect_timeout_s,
        silence_timeout_s=silence_timeout_s,
    )
    try:
        await chain.open()
        yield chain
    finally:
        await chain.aclose()
        await client.aclose()


def text_of(events: Sequence[RunEvent]) -> str:
    return "".join(getattr(event, "text", "") for event in events)
