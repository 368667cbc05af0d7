"""One worker process: arq's lifecycle and signals around our own claim loop.

What stock arq does with a queue (polling, in-progress keys, retries, results, abort, cron) is not
used: a run is held by a lease and ends through the scripts.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from signal import Signals
from typing import Any, Protocol

from arq import worker as arq_worker
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from trunkline_shared.channel import Channel
from trunkline_shared.config.models import Config
from trunkline_shared.connection import check_redis, make_blocking_redis, make_redis
from trunkline_shared.errors import RedisUnavailable, StartError
from trunkline_shared.keys import Keys
from trunkline_shared.logs import log_event
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import deserialize_job, serialize_job
from trunkline_shared.scripts import SLACK_MS, Scripts
from trunkline_shared.sweep import sweep_forever
from trunkline_shared.vault import Vault
from trunkline_worker.backends.build import Backends
from trunkline_worker.claude_code.sessions import StoredSessions
from trunkline_worker.dispatch import Dispatch
from trunkline_worker.execute import BackendsByAgent
from trunkline_worker.lease import LeaseKeeper
from trunkline_worker.memory import Memory
from trunkline_worker.orphans import OrphanWatch
from trunkline_worker.publish import Publisher
from trunkline_worker.settings import WorkerSettings

logger = logging.getLogger("trunkline.worker")

REFRESH_S = 60.0


class OpenBackends(BackendsByAgent, Protocol):
    """The backends of one worker, between their `open` and `aclose`."""

    @property
    def runnable(self) -> tuple[str, ...]:
        """The agents that can run here."""


async def run_worker(settings: WorkerSettings, config: Config, environ: Mapping[str, str]) -> None:
    """Runs one worker until SIGTERM or SIGINT and the end of its drain.

    Raises StartError or ConfigError when it cannot begin.
    """
    async with open_worker(settings, config, environ) as (worker, _):
        try:
            await worker.async_run()
        except asyncio.CancelledError:
            if not worker.hurried:
                raise


@asynccontextmanager
async def open_worker(
    settings: WorkerSettings,
    config: Config,
    environ: Mapping[str, str],
    *,
    handle_signals: bool = True,
) -> "AsyncIterator[tuple[Worker, Backends]]":
    """A worker to run, and its backends, open. Raises StartError or ConfigError."""
    async with AsyncExitStack() as stack:
        probe = make_redis(settings)
        stack.push_async_callback(probe.aclose)
        await check_redis(probe)
        sessions = StoredSessions(
            probe,
            Keys(settings.prefix),
            Vault(settings.secret_key, settings.previous_secret_keys),
            settings.retention_of("conversations"),
        )
        backends = Backends(config, settings, environ, sessions)
        await backends.open()
        stack.push_async_callback(backends.aclose)
        for name, missing in backends.lacking.items():
            logger.warning("agent %s lacks something here: %s", name, "; ".join(missing))
        # No socket time-outs: a pipe watches its own answers, a BLPOP may be long.
        client = make_redis(settings, socket_timeout=None, health_check_interval=0)
        stack.push_async_callback(client.aclose)
        yield Worker(settings, client, backends, handle_signals=handle_signals), backends


async def run(_: dict[Any, Any], **request: Any) -> None:
    """The name under which stock arq enqueues runs; `Worker` claims them and never calls it."""
    raise RuntimeError("runs are executed by their agents' backends")


class Worker(arq_worker.Worker):
    """Serves the pools of `settings`; `client` must be without socket time-outs."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: Redis,
        backends: OpenBackends,
        *,
        handle_signals: bool = True,
    ) -> None:
        self._settings = settings
        self._client = client
        self._backends = backends
        self._keys = Keys(settings.prefix)
        self._scripts = Scripts.build(self._keys, settings)
        self._vault = Vault(settings.secret_key, settings.previous_secret_keys)
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()  # it is announced, and claims
        self.calls: Pipe
        self.dispatch: Dispatch
        self.hurried = False  # a second signal ended the drain
        self.worker_id = secrets.token_hex(8)
        super().__init__(
            [arq_worker.func(run, name="run")],  # type: ignore[arg-type]
            queue_name=self._keys.queue(settings.pool[0]),
            redis_pool=ArqRedis(connection_pool=client.connection_pool),
            handle_signals=handle_signals,
            max_jobs=settings.slots,
            job_serializer=serialize_job,
            job_deserializer=deserialize_job,
        )

    def handle_sig(self, signum: Signals) -> None:
        """SIGTERM and SIGINT begin the drain; a second one ends it at once."""
        if self._stopping.is_set() and self.main_task is not None:
            self.hurried = True
            self.main_task.cancel()
        log_event(logger, "draining", signal=Signals(signum).name, worker=self.worker_id)
        self.stop()

    def stop(self) -> None:
        """Begins the drain; `main` returns at its end."""
        self._stopping.set()

    async def main(self) -> None:
        """From the lease to the last run's end. Raises StartError when Redis is not there."""
        async with AsyncExitStack() as stack:
            calls = await self._open_pipe(stack, "calls", self._settings.redis_timeout_s)
            frames = await self._open_pipe(stack, "frames", self._settings.redis_timeout_s)
            patience_s = self._settings.poll_s + self._settings.redis_timeout_s
            waits = await self._open_pipe(stack, "waits", patience_s)
            dispatch = Dispatch(
                self._settings,
                self._keys,
                worker_id=self.worker_id,
                calls=calls,
                waits=waits,
                backends=self._backends,
                memory=Memory(calls, self._keys, self._vault),
            )
            await self._assemble(stack, dispatch, calls, frames)
            self.calls, self.dispatch = calls, dispatch
            await self._serve(dispatch, calls)
            await self._leave(calls)

    async def _assemble(
        self, stack: AsyncExitStack, dispatch: Dispatch, calls: Pipe, frames: Pipe
    ) -> None:
        lease = LeaseKeeper(
            make_blocking_redis(self._settings, socket_timeout=self._settings.lease_ttl_ms / 1000),
            self._scripts,
            worker_id=self.worker_id,
            pools=self._settings.pool,
            agents=self._backends.runnable,
            ttl_ms=self._settings.lease_ttl_ms,
            known=dispatch.known,
            on_renewal=dispatch.renewed,
        )
        publisher = Publisher(
            frames,
            max_run_bytes=self._settings.run_buffer_bytes,
            allowed=lambda: lease.valid,
            on_lost=dispatch.lost,
        )
        dispatch.lease, dispatch.publisher = lease, publisher
        control = Channel(
            self._client,
            calls,
            self._keys.control(self.worker_id),
            timeout_s=self._settings.redis_timeout_s,
            on_message=lambda run_id: dispatch.cancel(run_id.decode(errors="replace")),
            on_connected=lambda: None,  # the next renewal tells what was missed
        )
        await publisher.start()
        stack.push_async_callback(publisher.aclose)
        await control.start()
        stack.push_async_callback(control.aclose)
        await self._in_time(control.ready())
        await lease.start()
        stack.push_async_callback(lease.aclose)

    async def _open_pipe(self, stack: AsyncExitStack, name: str, timeout_s: float) -> Pipe:
        pipe = Pipe(self._client, self._scripts, timeout_s=timeout_s, name=name)
        await pipe.start()
        stack.push_async_callback(pipe.aclose)
        await self._in_time(pipe.connected())
        return pipe

    async def _in_time(self, wait: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(2 * self._settings.redis_timeout_s):
                await wait
        except TimeoutError:
            raise StartError("Redis went away while the worker started") from None

    async def _serve(self, dispatch: Dispatch, calls: Pipe) -> None:
        orphans = OrphanWatch(
            calls,
            self._keys,
            replies=lambda: {
                run_id: each.claimed.reply
                for run_id, each in dispatch.executions.items()
                if each.claimed.reply
            },
            cancel=dispatch.cancel,
        )
        log_event(
            logger,
            "worker ready",
            worker=self.worker_id,
            pools=",".join(self._settings.pool),
            slots=self._settings.slots,
            agents=len(self._backends.runnable),
        )
        async with asyncio.TaskGroup() as tasks:
            periodic = [
                tasks.create_task(sweep_forever(calls), name="sweep"),
                tasks.create_task(orphans.run(), name="orphans"),
                tasks.create_task(self._refresh_forever(dispatch, calls), name="refresh"),
            ]
            claiming = tasks.create_task(dispatch.run(), name="dispatch")
            self.ready.set()
            await self._stopping.wait()
            dispatch.lease.drain()
            await dispatch.drain(self._settings.drain_s)
            try:
                async with asyncio.timeout(self._settings.redis_timeout_s):
                    await claiming
            except TimeoutError:
                logger.warning("Redis did not take the ends of all runs; the sweep will find them")
            for task in periodic:
                task.cancel()

    async def _refresh_forever(self, dispatch: Dispatch, calls: Pipe) -> None:
        """Keeps what belongs to the runs in this worker from expiring, in one write."""
        while True:
            await asyncio.sleep(REFRESH_S)
            keys = self._keys
            answers = [
                calls.send("PEXPIRE", key_of(run_id), SLACK_MS)
                for run_id in dispatch.executions
                # The journal first: without it the others are of no use.
                for key_of in (keys.journal, keys.log, keys.run, keys.job)
            ]
            for error in await asyncio.gather(*answers, return_exceptions=True):
                if isinstance(error, BaseException):
                    logger.warning("lifetimes were not refreshed: %s", error)
                    break

    async def _leave(self, calls: Pipe) -> None:
        """Gives the lease up, so that nobody waits for it to expire."""
        pools = [self._keys.workers(pool) for pool in self._settings.pool]
        gone = [calls.send("ZREM", pool, self.worker_id) for pool in pools]
        gone.append(calls.send("DEL", self._keys.lease(self.worker_id)))
        try:
            async with asyncio.timeout(self._settings.redis_timeout_s):
                await asyncio.gather(*gone)
        except (RedisUnavailable, RedisError, TimeoutError) as error:
            logger.warning("the lease will expire by itself: %s", error)
