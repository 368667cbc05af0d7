"""Keeps one worker process running: one that ends is started again, after a while."""

import asyncio
import logging
from collections.abc import Callable

from trunkline.child import Child
from trunkline_shared.logs import log_event

FIRST_DELAY_S = 0.2  # the runs of a worker that was killed wait for its successor
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0  # one that lived so long starts over with the first delay

logger = logging.getLogger(__name__)


class WorkerKeeper:
    """`child` is the present process, or the last one. Whoever cancels `keep` ends `child`."""

    def __init__(self, start: Callable[[], Child]) -> None:
        self._start = start
        self.child: Child | None = None
        self.has_failed = asyncio.Event()  # some process of this worker ended by itself

    async def keep(self) -> None:
        """Start and restart, until cancelled."""
        loop = asyncio.get_running_loop()
        delay_s = FIRST_DELAY_S
        while True:
            started = loop.time()
            self.child = self._start()
            log_event(logger, "worker started", process=self.child.name, pid=self.child.pid)
            code = await self.child.wait()
            self.has_failed.set()
            if loop.time() - started > STEADY_S:
                delay_s = FIRST_DELAY_S
            fields = {"process": self.child.name, "exit_code": code, "restart_in_s": delay_s}
            logger.warning("worker ended", extra={"fields": fields})
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)
