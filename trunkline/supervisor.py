"""The parent of `serve`: starts Redis, workers and API in this order, and ends them in reverse."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from trunkline.announcement import Announcements
from trunkline.banner import banner, key_variable
from trunkline.child import Child
from trunkline.embedded_redis import EmbeddedRedis
from trunkline.interrupts import Interrupts
from trunkline.plan import Plan
from trunkline.port import base_url, free_port, until_open
from trunkline.secret_key import keep_key, kept_key
from trunkline.worker_keeper import WorkerKeeper
from trunkline_shared.config.readiness import readiness
from trunkline_shared.connection import check_redis, make_redis
from trunkline_shared.errors import StartError
from trunkline_shared.keys import Keys
from trunkline_shared.logs import log_event
from trunkline_shared.owned import heed_cancellation

ANNOUNCE_TIMEOUT_S = 30.0  # the port opens then, worker or not
OPEN_TIMEOUT_S = 60.0
HURRIED_S = 3.0
WITHOUT_REDIS_S = 0.5  # no run can end once our Redis is gone; clients are told by the hurry

logger = logging.getLogger(__name__)


class Supervisor:
    """Serves one plan, once."""

    def __init__(self, plan: Plan, interrupts: Interrupts) -> None:
        self._plan = plan
        self._interrupts = interrupts
        self._redis: EmbeddedRedis | None = None
        self._added: dict[str, str] = {}  # to the environment of every child
        self._redis_url = plan.settings.redis_url
        self._port = plan.api.port
        self._has_stored_keys = False
        self._keepers: list[WorkerKeeper] = []
        self._keeping: list[asyncio.Task[None]] = []
        self._api: Child | None = None
        self._pipe = os.pipe()

    async def run(self) -> int:
        """The exit code: 0 after a signal, 1 if the API or Redis ended. Nobody is left behind.

        Raises StartError if it cannot start.
        """
        serving = asyncio.create_task(self._serve(), name="serve")
        stop = asyncio.create_task(self._interrupts.stop.wait(), name="stop")
        try:
            await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
            return serving.result() if serving.done() else 0
        finally:
            await _cancel(serving, stop, *self._keeping)
            await self._shut_down()

    async def _serve(self) -> int:
        plan = self._plan
        self._port = free_port(plan.api.host, plan.api.port)
        await self._start_redis()
        await self._start_workers()
        self._api = self._start_child("api", plan.api_command, plan.api_environ)
        opened = until_open(plan.api.host, self._port)
        await _first_of(OPEN_TIMEOUT_S, opened, self._api.wait(), *self._redis_end())
        if self._api.code is None:
            self._greet()
            await _first_of(None, self._api.wait(), *self._redis_end(), *self._keeping)
        return self._ended()

    async def _start_redis(self) -> None:
        if not self._redis_url:
            self._redis = await EmbeddedRedis.start(self._plan.data_path, self._plan.search_path)
            self._redis_url = self._redis.url
            log_event(
                logger, "redis started", pid=self._redis.child.pid, data=str(self._plan.data_path)
            )

    async def _start_workers(self) -> None:
        settings = replace(self._plan.settings, redis_url=self._redis_url)
        async with make_redis(settings) as client:
            await check_redis(client)
            self._added = self._for_children()
            keys = Keys(settings.prefix)
            self._has_stored_keys = bool(await client.exists(keys.api_keys))
            news = Announcements(client, keys, self._plan.pools)
            await news.note_known()
            heed_cancellation()
            for number in range(1, self._plan.settings.workers + 1):
                self._keep_worker(f"worker-{number}")
            failures = [keeper.has_failed.wait() for keeper in self._keepers]
            await _first_of(ANNOUNCE_TIMEOUT_S, news.first_new(), *failures, *self._redis_end())

    def _for_children(self) -> dict[str, str]:
        settings, path = self._plan.settings, self._plan.data_path
        previous = list(settings.previous_secret_keys)
        secret_key = settings.secret_key or keep_key(path)
        # What was stored before somebody configured a key must still open.
        if settings.secret_key and (kept := kept_key(path)):
            previous.append(kept)
        return {
            "TRUNKLINE_REDIS_URL": self._redis_url,
            "TRUNKLINE_PORT": str(self._port),
            "TRUNKLINE_SECRET_KEY": secret_key,
            "TRUNKLINE_PREVIOUS_SECRET_KEYS": orjson.dumps(previous).decode() if previous else "",
        }

    def _keep_worker(self, name: str) -> None:
        keeper = WorkerKeeper(
            lambda: self._start_child(name, self._plan.worker_command, self._plan.worker_environ)
        )
        self._keepers.append(keeper)
        self._keeping.append(asyncio.create_task(keeper.keep(), name=f"keep:{name}"))

    def _start_child(
        self, name: str, command: tuple[str, ...], environ: Mapping[str, str]
    ) -> Child:
        read_end = self._pipe[0]
        return Child(
            name,
            (*command, "--parent-pipe", str(read_end)),
            {**environ, **self._added},
            pass_fds=(read_end,),
        )

    def _greet(self) -> None:
        api = self._plan.api
        url = base_url(api.host, self._port)
        variable = key_variable(api, self._plan.api_environ)
        if variable is None and self._has_stored_keys:
            variable = "TRUNKLINE_API_KEY"
        agents = self._plan.config.agents
        models = {name: readiness(agents[name], self._plan.worker_environ) for name in agents}
        # Nobody may read it any more; we serve all the same.
        with contextlib.suppress(BrokenPipeError):
            print(banner(url, models, variable), flush=True)

    def _redis_end(self) -> list[Awaitable[int]]:
        return [self._redis.child.wait()] if self._redis else []

    def _ended(self) -> int:
        if self._redis and self._redis.child.code is not None:
            logger.error(
                "the embedded Redis ended (exit code %d): %s",
                self._redis.child.code,
                self._redis.last_words(),
            )
            return 1
        if self._api is None or self._api.code is None:
            raise StartError(f"the API process did not open port {self._port} in time")
        if self._api.code == 2:
            return 2  # it has said why
        logger.error("the API process ended (exit code %d)", self._api.code)
        return 1

    async def _shut_down(self) -> None:
        workers = [keeper.child for keeper in self._keepers if keeper.child]
        children = [child for child in (self._api, *workers) if child]
        try:
            if children:
                await self._end_in_order(children)
        finally:
            for child in children:
                if child.code is None:
                    logger.warning("%s did not end in time and is killed", child.name)
                    child.kill()
            await asyncio.gather(*(child.wait() for child in children))
            if self._redis:
                await self._redis.stop()
            for end in self._pipe:
                os.close(end)

    async def _end_in_order(self, children: list[Child]) -> None:
        log_event(logger, "stopping; a second signal hurries")
        for child in children:  # the API first: what it takes now would find no worker
            child.terminate()
        hurry = self._interrupts.hurry
        await _first_of(self._patience_s(), _all_ended(children), hurry.wait())
        if hurry.is_set() or self._redis_is_gone:
            for child in children:
                child.terminate()  # the second one ends drain and grace
            await _first_of(HURRIED_S, _all_ended(children))

    @property
    def _redis_is_gone(self) -> bool:
        return self._redis is not None and self._redis.child.code is not None

    def _patience_s(self) -> float:
        return WITHOUT_REDIS_S if self._redis_is_gone else self._plan.stop_timeout_s


async def _all_ended(children: list[Child]) -> None:
    await asyncio.gather(*(child.wait() for child in children))


async def _first_of(timeout_s: float | None, *awaitables: Awaitable[Any]) -> None:
    """Return when one of them is done, or the time is over; the rest are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _cancel(*tasks)


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
