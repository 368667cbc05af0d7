"""A pool's agents on an OpenAI-compatible server inside a program of yours."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trunkline.port import base_url
from trunkline.python_api.agent_pool import AgentPool
from trunkline.python_api.embedded import Embedded, Plan
from trunkline.python_api.mounted_app import MountedApp
from trunkline.python_api.options import settings_from
from trunkline_shared.errors import ConfigError


class OpenAIAPIServer:
    """Serves `pool` while it is entered: `async with server`.

    Worker and API are tasks of the running loop, Redis is the one at `redis_url`, or a child
    process of this one. That keeps its data in `data_dir`, which then is this server's alone, or
    else in memory. `api_key` is one key or several, `cors` True for all origins or a list of them,
    `slots` how many runs go on at once. `settings` are those of both tiers, by their names in
    docs/configuration.md without TRUNKLINE_; variables of that name have no effect.

    It installs no signal handlers and leaves logging, limits and the loop as they are. Raises
    ConfigError for a value that does not fit; entering raises StartError or ConfigError.
    """

    def __init__(
        self,
        pool: AgentPool,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        cors: bool | Iterable[str] = False,
        docs: bool = True,
        api_key: str | Iterable[str] | None = None,
        redis_url: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        slots: int = 100,
        **settings: Any,
    ) -> None:
        options = {"host": host, "port": port, "docs": docs, "slots": slots, **settings}
        api, worker = settings_from(options, api_key=api_key, cors=cors)
        if redis_url is not None and data_dir is not None:
            raise ConfigError("data_dir: is for a Redis of the server's own, not with redis_url")
        kept = None if data_dir is None else Path(data_dir).expanduser().absolute()
        self._plan = Plan(api, worker, redis_url, kept)
        self._pool = pool
        self._embedded: Embedded | None = None
        self._port: int | None = None
        self.app = MountedApp(self)
        """Mount it into another ASGI program; it answers while the server is entered."""
        self.started = asyncio.Event()
        """Set while the port answers."""

    @property
    def port(self) -> int:
        """The one that is open; while none is, the one that was asked for."""
        return self._plan.api.port if self._port is None else self._port

    @property
    def url(self) -> str:
        """How this machine reaches the port, without the `/v1` that clients append."""
        return base_url(self._plan.api.host, self.port)

    async def __aenter__(self) -> Self:
        if self._embedded is not None:
            raise RuntimeError("this server is entered already")
        self._embedded = Embedded(self._plan, self._pool)
        try:
            await self._embedded.start()
        except BaseException:
            self._embedded = None
            raise
        self.app.running = self._embedded
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Open replies may go on for `grace_s`; a cancellation meanwhile ends them at once.

        Raises ServerBroken where the server could not go on.
        """
        assert self._embedded is not None
        self.app.running = None
        try:
            await self._embedded.close()
        finally:
            self._embedded = None

    @asynccontextmanager
    async def run_context(self) -> AsyncIterator[Self]:
        """Serves on `host` and `port` until the end of the block. Raises StartError."""
        if self._embedded is None:
            raise RuntimeError("enter the server first: async with server, server.run_context()")
        async with self._embedded.listening(self.started) as self._port:
            try:
                yield self
            finally:
                self._port = None

    async def serve(self) -> None:
        """Serves until it is cancelled, entering the server where that has not been done."""
        async with AsyncExitStack() as stack:
            if self._embedded is None:
                await stack.enter_async_context(self)
            await stack.enter_async_context(self.run_context())
            await asyncio.get_running_loop().create_future()
