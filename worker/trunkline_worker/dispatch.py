"""The claim loop: takes runs for free slots, sleeps on the wake lists, keeps what it executes."""

import asyncio
import contextlib
import logging

import orjson
from redis.exceptions import RedisError

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import Failed, encode
from trunkline_shared.keys import Keys
from trunkline_shared.logs import log_event
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Argument
from trunkline_worker.execute import BackendsByAgent, Claimed, Execution
from trunkline_worker.lease import LeaseKeeper, Renewal
from trunkline_worker.memory import Memory
from trunkline_worker.publish import Publisher
from trunkline_worker.settings import WorkerSettings

logger = logging.getLogger("trunkline.dispatch")

CANCELLED = Failed("cancelled", "The run was cancelled.")
DRAINING = Failed("worker_draining", "The worker was shut down before the run ended.")
UNWRITABLE = Failed("server_error", "The run's log could not be continued.")


class Dispatch:
    """What one worker executes: claims, starts, stops and gives back.

    `calls` carries the scripts, `waits` nothing but BLPOP.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        keys: Keys,
        *,
        worker_id: str,
        calls: Pipe,
        waits: Pipe,
        backends: BackendsByAgent,
        memory: Memory,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._worker_id = worker_id
        self._calls = calls
        self._waits = waits
        self._backends = backends
        self._memory = memory
        self.executions: dict[str, Execution] = {}
        self.publisher: Publisher
        self.lease: LeaseKeeper
        self._free = settings.slots
        self._left = False  # the last claim left runs behind
        self._claiming = False
        self._stalled = False  # the lease was in doubt when runs could have been claimed
        self._wake = asyncio.Event()
        self._listen = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._unknown: frozenset[str] = frozenset()  # held according to Redis, not known here
        self._tasks: asyncio.TaskGroup

    def known(self) -> list[tuple[str, int]]:
        return [(run_id, each.claimed.epoch) for run_id, each in self.executions.items()]

    async def run(self) -> None:
        """Claims until `drain` ends; returns when no run is left."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            listener = tasks.create_task(self._listen_forever(), name="wake")
            while not self._draining:
                await self._claim_once()
            listener.cancel()
            await self._waits.aclose()  # a BLPOP left behind would swallow a token

    def cancel(self, run_id: str) -> None:
        """A client left, or an operator said so."""
        execution = self.executions.get(run_id)
        if execution is not None:
            execution.stop(CANCELLED)

    def lost(self, run_id: str, answer: str) -> None:
        """The log does not take this run's frames: 'fenced', 'gone' or 'refused'."""
        execution = self.executions.get(run_id)
        if execution is None:
            return
        log_event(logger, "run dropped", run_id=run_id, reason=answer)
        execution.drop()
        if answer != "fenced":
            self._tasks.create_task(self._finish_lost(run_id, UNWRITABLE), name=f"finish:{run_id}")

    def renewed(self, renewal: Renewal) -> None:
        """What a renewal of the lease told."""
        for run_id in renewal.cancels:
            self.cancel(run_id)
        for run_id in renewal.lost:
            self.lost(run_id, "fenced")
        # A claim under way may be what made them unknown, however late its reply is read.
        if renewal.held is not None and not self._claiming:
            unknown = renewal.held - self.executions.keys()
            if astray := unknown & self._unknown:
                self._tasks.create_task(self._hand_back([*astray]), name="hand back")
            self._unknown = unknown
        else:
            self._unknown = frozenset()
        self.publisher.resume()
        if self._stalled:
            self._wake.set()

    async def drain(self, within_s: float) -> None:
        """Takes no more; what runs may end within `within_s`, then it is ended or handed back."""
        self._draining = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        untold = [run_id for run_id, each in self.executions.items() if each.repeatable]
        for run_id, execution in [*self.executions.items()]:
            if run_id in untold:
                execution.drop()
            else:
                execution.stop(DRAINING)
        if untold:
            await self._hand_back(untold)

    async def _claim_once(self) -> None:
        self._stalled = not self.lease.valid
        if self._free > 0 and not self._stalled:
            taken = await self._claim()
            if taken and self._left:
                return
        if self._free > 0:
            self._listen.set()
        await self._wake.wait()
        self._wake.clear()

    async def _claim(self) -> int:
        may_suspect = not any(each.claimed.suspect for each in self.executions.values())
        arguments: list[Argument] = [self._worker_id, self._free, int(may_suspect)]
        self._claiming = True
        try:
            left, *rows = await self._calls.call("claim", *arguments, *self._settings.pool)
        except (RedisUnavailable, RedisError) as error:
            logger.warning("claim failed: %s", error)
            await self._calls.connected()
            return 0
        finally:
            self._claiming = False
        self._left = left == b"1"
        self._stalled = left == b"lost"
        runs = [Claimed.parse(row) for row in rows]
        if self._draining and runs:
            await self._hand_back([run.run_id for run in runs])  # taken as the drain began
            return 0
        for run in runs:
            self._start(run)
        return len(runs)

    def _start(self, claimed: Claimed) -> None:
        if before := self.executions.get(claimed.run_id):
            before.drop()  # this worker lost the run and got it back
        writer = self.publisher.open_run(
            claimed.run_id, claimed.epoch, claimed.last_seq, claimed.reply
        )
        journal_bytes = self._settings.journal_bytes
        execution = Execution(
            claimed, writer, self._memory, gate=self.lease.gate, journal_bytes=journal_bytes
        )
        self.executions[claimed.run_id] = execution
        self._idle.clear()
        self._free -= claimed.slots
        self._tasks.create_task(self._execute(execution), name=f"run:{claimed.run_id}")

    async def _execute(self, execution: Execution) -> None:
        run_id = execution.claimed.run_id
        try:
            if await execution.run(self._backends) == "refused":
                await self._finish_lost(run_id, execution.failure or UNWRITABLE)
        finally:
            execution.writer.close()
            execution.ended.set_result(None)
            if self.executions.get(run_id) is execution:
                del self.executions[run_id]
            self._free += execution.claimed.slots
            if not self.executions:
                self._idle.set()
            if self._left or not self._listen.is_set():
                self._wake.set()

    async def _listen_forever(self) -> None:
        """Pops a wake token when asked to; a token that comes too late goes back."""
        lists = [self._keys.wake(pool) for pool in self._settings.pool]
        while True:
            await self._listen.wait()
            try:
                popped = await self._waits.send("BLPOP", *lists, f"{self._settings.poll_s:g}")
            except (RedisUnavailable, RedisError):
                await self._waits.connected()
                popped = None
            if popped and self._free <= 0:
                self._calls.send("RPUSH", popped[0], b"1").add_done_callback(_ignore)
            self._listen.clear()
            self._wake.set()

    async def _hand_back(self, run_ids: list[str]) -> None:
        try:
            back = await self._calls.call("hand_back", self._worker_id, *run_ids)
        except (RedisUnavailable, RedisError) as error:
            logger.warning("runs could not be handed back, the sweep will take them: %s", error)
            return
        log_event(logger, "handed back", runs=len(back))

    async def _finish_lost(self, run_id: str, failure: Failed) -> None:
        event = orjson.dumps(encode(failure))
        while True:
            try:
                await self._calls.call("finish", run_id, "", event, "failed")
                return
            except RedisUnavailable:
                await self._calls.connected()
            except RedisError as error:
                logger.warning("run %s could not be finished: %s", run_id, error)
                return


def _ignore(reply: "asyncio.Future[object]") -> None:
    """The token is only a courtesy: the sweep repairs what is lost here."""
    if not reply.cancelled():
        reply.exception()
