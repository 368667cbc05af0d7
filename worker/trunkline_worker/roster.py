"""Agents that come and go while their worker runs."""

import asyncio
import logging
from contextlib import suppress

from redis.exceptions import RedisError

from trunkline_shared.config.models import AgentConfig
from trunkline_shared.errors import ConfigError, RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.owned import end_owned
from trunkline_worker.backends.base import Backend
from trunkline_worker.backends.build import Backends
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import Worker

logger = logging.getLogger("trunkline.worker")


class Roster:
    """Changes what one worker, which must be `ready`, can run."""

    def __init__(self, worker: Worker, backends: Backends, settings: WorkerSettings) -> None:
        self._worker = worker
        self._backends = backends
        self._pools = settings.pool
        self._timeout_s = settings.redis_timeout_s
        self._agents = Keys(settings.prefix).agents(worker.worker_id)
        self._closing: set[asyncio.Task[None]] = set()

    async def add(self, agent: AgentConfig) -> tuple[str, ...]:
        """Returns when runs of the agent can be submitted, with sentences of what it lacks here.

        Raises RedisUnavailable, or ConfigError for an agent of another worker's pool, and has then
        changed nothing.
        """
        if agent.pool not in self._pools:
            served = ", ".join(self._pools)
            raise ConfigError(
                f"agents.{agent.name}.pool: this worker serves {served} since it started, "
                f"not {agent.pool!r}"
            )
        await self._backends.add(agent)
        if agent.name in self._backends.runnable:
            try:
                await self._announce("SADD", agent.name)
            except BaseException:
                self._withdraw(agent.name)
                raise
        return self._backends.lacking.get(agent.name, ())

    async def remove(self, name: str) -> None:
        """Claims no more of its runs. Those that run end as they would; the backend is closed
        after the last one."""
        self._withdraw(name)
        try:
            await self._announce("SREM", name)
        except RedisUnavailable as error:
            logger.warning("%s; runs of it that come here will fail", error)

    async def aclose(self) -> None:
        await end_owned(*self._closing)

    async def _announce(self, command: str, name: str) -> None:
        self._worker.dispatch.lease.announce(self._backends.runnable)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._worker.calls.send(command, self._agents, name)
        except (RedisUnavailable, RedisError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            raise RedisUnavailable(f"Redis did not hear of agent {name}: {why}") from error

    def _withdraw(self, name: str) -> None:
        backend = self._backends.withdraw(name)
        if backend is not None:
            task = asyncio.create_task(self._close_unused(name, backend), name=f"close:{name}")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close_unused(self, name: str, backend: Backend) -> None:
        # Claims that Redis answered before it heard of the removal may still be on their way in.
        with suppress(RedisUnavailable, RedisError):  # what got lost on its way goes back
            await self._worker.calls.send("PING")
        for execution in [*self._worker.dispatch.executions.values()]:
            if execution.agent in (name, None):
                await asyncio.wait([execution.ended])
        await self._backends.close(name, backend)
