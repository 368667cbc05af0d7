"""Runs backends in tests: requests, sessions, and what comes out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.fakes.upstream import FakeUpstream
from trunkline_shared.config.models import AgentConfig, Limits
from trunkline_shared.events import Failed, Finished, RunEvent, TextDelta
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_shared.transcript import Item
from trunkline_worker.backends.base import Backend, RunContext
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices

QUICK = Retry(retries=1, first_s=0.001)


async def no_gate() -> None:
    """This worker owns the run."""


def said(text: str, role: str = "user") -> Item:
    return {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}  # type: ignore[typeddict-item]


def request(text: str = "hello there", **fields: Any) -> RunRequest:
    fields.setdefault("transcript", [said(text)])
    fields.setdefault("agent", "test")
    return RunRequest(run_id=new_run_id(), **fields)


async def batches_of(
    backend: Backend, run: RunRequest, gate: Callable[[], Awaitable[None]] = no_gate
) -> list[Sequence[RunEvent]]:
    batches: list[Sequence[RunEvent]] = []
    last = await backend.run(run, RunContext(gate, batches.append))
    return [*batches, last]


async def events_of(backend: Backend, run: RunRequest) -> list[RunEvent]:
    return [event for batch in await batches_of(backend, run) for event in batch]


def text_in(events: list[RunEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def finished(events: list[RunEvent]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def failed(events: list[RunEvent]) -> Failed:
    assert isinstance(events[-1], Failed), events[-1]
    return events[-1]


def spec(upstream: FakeUpstream, name: str, **fields: Any) -> ModelSpec:
    values = {"provider": "vllm", "name": name, "base_url": upstream.base_url, **fields}
    return ModelSpec(**values)


@asynccontextmanager
async def chat(
    *models: ModelSpec,
    limits: Limits | None = None,
    retry: Retry = QUICK,
    silence_timeout_s: float = 5.0,
    system_prompt: tuple[str, ...] = (),
) -> AsyncIterator[ChatBackend]:
    names = tuple(f"{model.provider}:{model.name}" for model in models)
    agent = AgentConfig(
        name="test",
        model=names,
        base_url=None,
        limits=limits or Limits(),
        system_prompt=system_prompt,
    )
    client = HttpClient()
    try:
        yield ChatBackend(
            agent, models, client, Prices(), retry=retry, silence_timeout_s=silence_timeout_s
        )
    finally:
        await client.aclose()
