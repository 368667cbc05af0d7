"""API and workers in one process around a real Redis: `async with Stage(url) as stage`."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

import httpx
import orjson
from redis.asyncio import Redis

from tests.api.uvicorn_server import Serving
from tests.patience import PATIENCE_S
from trunkline_api.api import build_application
from trunkline_api.auth import ApiKeys
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.connection import make_redis
from trunkline_shared.events import Finished, RunEvent, TextDelta
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Backend, RunContext
from trunkline_worker.backends.echo import EchoBackend
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import Worker

AGENTS = {
    "echo": AgentConfig.model_validate({"name": "echo", "type": "echo", "echo": {}}),
    "held": AgentConfig(name="held", type="echo"),
}


class HeldBackend:
    """Says `first`, then nothing until `go` is set; notes who began, ended and was cut off."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.first = "first "
        self.began: list[str] = []
        self.cut: list[str] = []

    async def open(self) -> None:
        """Nothing is needed."""

    async def run(self, request: RunRequest, context: RunContext) -> Sequence[RunEvent]:
        self.began.append(request.run_id)
        try:
            if self.first:
                context.emit([TextDelta(self.first)])
            await self.go.wait()
        except asyncio.CancelledError:
            self.cut.append(request.run_id)
            raise
        return [TextDelta("last"), Finished("stop")]

    async def aclose(self) -> None:
        """Nothing is held."""


class StageBackends:
    def __init__(self) -> None:
        self.held = HeldBackend()
        self._backends: dict[str, Backend] = {
            "echo": EchoBackend(AGENTS["echo"]),
            "held": self.held,
        }

    @property
    def runnable(self) -> tuple[str, ...]:
        return tuple(self._backends)

    def get(self, request: RunRequest) -> Backend:
        return self._backends[request.agent]

    def timeout_s(self, agent: str) -> float:
        return 600.0


class Stage:
    """`workers` begin with it; `url` is where the API answers, with the settings `api`."""

    def __init__(self, redis_url: str, *, workers: int = 1, **settings: Any) -> None:
        self.keys = Keys("flow")
        self._common: dict[str, Any] = {"redis_url": redis_url, "prefix": "flow"}
        self._worker = WorkerSettings(
            **self._common, slots=settings.get("slots", 10), drain_s=settings.get("drain_s", 5.0)
        )
        webhooks = settings.get("webhooks", ())
        wait_s = settings.get("conversation_wait_s", 300.0)
        api = {"grace_s": 5.0, "webhooks": webhooks, "conversation_wait_s": wait_s}
        self._api = ApiSettings(**{**self._common, **api, **settings.get("api", {})})
        self._stack = AsyncExitStack()
        self._count = workers
        self.workers: list[tuple[Worker, StageBackends, asyncio.Task[Any]]] = []
        self.redis: Any
        self.serving: Serving
        self.http: httpx.AsyncClient

    async def __aenter__(self) -> "Stage":
        self.redis = self._client()
        for _ in range(self._count):
            await self.start_worker()
        application = build_application(
            self._api, Config(path="flow.yml", agents=AGENTS), self._client(), ApiKeys()
        )
        self.serving = Serving(application)
        url = await self._stack.enter_async_context(self.serving)
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits)
        self._stack.push_async_callback(self.http.aclose)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _, backends, _ in self.workers:
            backends.held.go.set()
        async with asyncio.timeout(3 * PATIENCE_S):
            await self._stack.aclose()

    @property
    def held(self) -> HeldBackend:
        """The held agent's backend in the first worker."""
        return self.workers[0][1].held

    async def start_worker(self) -> None:
        backends = StageBackends()
        worker = Worker(self._worker, self._client(), backends, handle_signals=False)
        task = asyncio.create_task(worker.async_run())
        self.workers.append((worker, backends, task))
        self._stack.push_async_callback(self.stop_worker, len(self.workers) - 1)
        async with asyncio.timeout(PATIENCE_S):
            seen = self.keys.workers("default")
            while await self.redis.zscore(seen, worker.worker_id) is None:
                assert not task.done()
                await asyncio.sleep(0.01)

    async def stop_worker(self, index: int) -> None:
        """What SIGTERM does; returns when the worker is gone."""
        worker, _, task = self.workers[index]
        worker._stopping.set()
        await task

    async def chat(self, text: str, *, agent: str = "echo", **more: Any) -> httpx.Response:
        """A whole reply."""
        return await self.http.post("/v1/chat/completions", json=request(text, agent, **more))

    def stream(self, text: str, *, agent: str = "echo") -> Any:
        """A reply that streams, as a context manager."""
        body = request(text, agent, stream=True)
        return self.http.stream("POST", "/v1/chat/completions", json=body)

    def _client(self) -> Redis:
        client = make_redis(
            ApiSettings(**self._common), socket_timeout=None, health_check_interval=0
        )
        self._stack.push_async_callback(client.aclose)
        return client


def request(text: str, agent: str, **more: Any) -> dict[str, Any]:
    return {"model": agent, "messages": [{"role": "user", "content": text}], **more}


def text_of(lines: Sequence[str]) -> str:
    """The text of a stream's lines."""
    chunks = [orjson.loads(line[6:]) for line in lines if line.startswith("data: {")]
    choices = [chunk.get("choices") or [{}] for chunk in chunks]
    return "".join(choice[0].get("delta", {}).get("content") or "" for choice in choices)
