"""One server inside somebody else's program: a Redis, a worker and the application."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from trunkline.python_api.agent_pool import AgentPool
from trunkline.python_api.own_redis import own_redis
from trunkline.python_api.patience import until_ended, until_set
from trunkline.secret_key import keep_key
from trunkline_api.api import build_application
from trunkline_api.app import Application
from trunkline_api.auth import ApiKeys
from trunkline_api.server import bind, choose_host, serve_running
from trunkline_api.settings import ApiSettings
from trunkline_shared.config.models import DEFAULT_POOL
from trunkline_shared.connection import make_redis
from trunkline_shared.errors import ServerBroken
from trunkline_shared.keys import Keys
from trunkline_shared.owned import start_owned, telling
from trunkline_worker.roster import Roster
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.worker import Worker, open_worker

logger = logging.getLogger(__name__)

_CLOSING_S = 2.0  # for the last words of replies that the grace has ended


@dataclass(frozen=True, slots=True)
class Plan:
    """Without `redis_url` it is a Redis of the server's own, kept in `data_dir` or nowhere."""

    api: ApiSettings
    worker: WorkerSettings
    redis_url: str | None
    data_dir: Path | None


class Embedded:
    """Lives once, from `start` to `close`, in a task of its own.

    When something of it breaks it ends by itself; so that this is seen, the task that started it
    is cancelled as by an `asyncio.TaskGroup`, and `close` raises ServerBroken.
    """

    application: Application

    def __init__(self, plan: Plan, pool: AgentPool) -> None:
        self._plan = plan
        self._pool = pool
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_hand = 0
        self._working: asyncio.Task[None] | None = None
        self._failure: ServerBroken | None = None
        self._is_closing = False
        self._host: asyncio.Task[object]
        self._has_cancelled_host = False
        self._cancellations = 0  # of the host before it came here
        self._life: asyncio.Task[None]

    async def start(self) -> None:
        """Return when it can answer. Raises StartError or ConfigError, and leaves nothing then."""
        host = asyncio.current_task()
        assert host is not None
        self._host, self._cancellations = host, host.cancelling()
        self._life = asyncio.create_task(self._live(), name="trunkline")
        self._life.add_done_callback(_seen)
        try:
            await until_set(self._ready, self._life)
        except asyncio.CancelledError:
            self._give_up()
            await until_ended(self._life, _go_on)
            self._tell_failure()
            raise

    async def close(self) -> None:
        """Replies get their grace, then all of it ends; a cancellation meanwhile ends the grace.

        Raises ServerBroken if it broke.
        """
        self._is_closing = True
        self._stop.set()
        cancelled = await until_ended(self._life, self.hurry)
        self._tell_failure()
        self._life.result()
        if cancelled:
            raise asyncio.CancelledError

    def hurry(self) -> None:
        """No more grace: replies and runs end now, with an error."""
        self._stop.set()
        if self._ready.is_set():
            self.application.gateway.shutdown.closing.set()
        if self._working is not None:
            self._working.cancel()

    @asynccontextmanager
    async def listening(self, started: asyncio.Event) -> AsyncIterator[int]:
        """Serves on a port, which is given, until the end of the block. Raises StartError."""
        settings = self._plan.api
        has_keys = bool(self.application.gateway.keys)
        sockets = bind(choose_host(settings, has_keys=has_keys, host_explicit=True), settings.port)
        port: int = sockets[0].getsockname()[1]
        stop = asyncio.Event()
        serve = serve_running(self.application, sockets, started, stop)
        with telling(self._break):
            serving = start_owned(serve, "the port")
        try:
            await until_set(started, serving)
            yield port
        finally:
            started.clear()
            stop.set()
            if await until_ended(serving, self.hurry):
                raise asyncio.CancelledError

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """Around each request that comes by another way than the port."""
        self._in_hand += 1
        self._idle.clear()
        try:
            with telling(self._break):
                yield
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _live(self) -> None:
        with telling(self._break):
            async with AsyncExitStack() as stack:
                api, worker = await self._with_redis(stack)
                async with self._pool.unchanged():
                    self._pool.join(await self._start_worker(worker, stack))
                client = make_redis(api, socket_timeout=None, health_check_interval=0)
                stack.push_async_callback(client.aclose)
                keys = ApiKeys.from_settings(api)
                keys.closed = bool(await client.exists(Keys(api.prefix).api_keys))
                self.application = build_application(api, self._pool.config, client, keys)
                await stack.enter_async_context(self.application.running())
                self._ready.set()
                await self._stop.wait()
                await self._see_replies_off(api.grace_s)

    async def _with_redis(self, stack: AsyncExitStack) -> tuple[ApiSettings, WorkerSettings]:
        plan = self._plan
        url, secret_key = plan.redis_url, plan.api.secret_key
        if url is None:
            own = own_redis(plan.data_dir, self._pool.environ.get("PATH", ""))
            url = await stack.enter_async_context(own)
            # Without a directory all that it seals goes with us.
            if secret_key is None:
                secret_key = keep_key(plan.data_dir) if plan.data_dir else secrets.token_urlsafe(32)
        return (
            replace(plan.api, redis_url=url, secret_key=secret_key),
            replace(plan.worker, redis_url=url, secret_key=secret_key),
        )

    async def _start_worker(self, settings: WorkerSettings, stack: AsyncExitStack) -> Roster:
        pools = tuple(dict.fromkeys((DEFAULT_POOL, *self._pool.config.pools)))
        settings = replace(settings, pool=pools)
        opened = open_worker(settings, self._pool.config, self._pool.environ, handle_signals=False)
        worker, backends = await stack.enter_async_context(opened)
        await stack.enter_async_context(self._at_work(worker))
        roster = Roster(worker, backends, settings)
        stack.push_async_callback(roster.aclose)
        stack.push_async_callback(self._pool.leave, roster)
        return roster

    @asynccontextmanager
    async def _at_work(self, worker: Worker) -> AsyncIterator[None]:
        self._working = asyncio.create_task(worker.async_run(), name="the worker")
        try:
            await until_set(worker.ready, self._working)
            self._working.add_done_callback(self._look)
            yield
        finally:
            worker.stop()
            if not worker.ready.is_set():
                self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working

    async def _see_replies_off(self, grace_s: float) -> None:
        shutdown = self.application.gateway.shutdown
        shutdown.draining.set()
        closing = asyncio.create_task(shutdown.closing.wait(), name="closing")
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await until_set(self._idle, closing)
            shutdown.closing.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_S):
                    await self._idle.wait()
        finally:
            closing.cancel()

    def _give_up(self) -> None:
        if not self._stop.is_set():
            self._stop.set()  # also where the cancellation gets lost, as some clients do it
            self._life.cancel()

    def _tell_failure(self) -> None:
        if self._failure is None:
            return
        if self._has_cancelled_host:
            self._host.uncancel()
        # One of somebody else is not ours to swallow.
        if self._host.cancelling() > self._cancellations:
            raise asyncio.CancelledError
        raise self._failure

    def _look(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._break(task.get_name(), error)

    def _break(self, name: str, error: BaseException) -> None:
        if self._failure is not None or self._life.done():
            return
        self._failure = ServerBroken(f"{name} ended by itself, and with it the server: {error}")
        self._failure.__cause__ = error
        logger.critical("%s", self._failure, exc_info=error)
        if not self._ready.is_set():
            self._give_up()
            return
        self.hurry()
        if not self._is_closing:
            self._has_cancelled_host = self._host.cancel()


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # `start`, `close` or ServerBroken tells it


def _go_on() -> None:
    """A second cancellation of a start finds the first one at work already."""
