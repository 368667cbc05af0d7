"""An application behind a real port of this machine, for as long as a test needs it."""

import asyncio
from types import TracebackType

from trunkline_api.app import Application
from trunkline_api.server import bind, serve_api


class Serving:
    """`async with Serving(app) as url`. `stop` begins the end as SIGTERM would."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.stop = asyncio.Event()
        self._sockets = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._sockets[0].getsockname()[1]}"
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> str:
        started = asyncio.Event()
        self.task = asyncio.create_task(
            serve_api(self.app, sockets=self._sockets, started=started, stop=self.stop)
        )
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait((self.task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not started.is_set():
            await self.task
        return self.url

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.task is not None
        self.stop.set()
        await self.task
