"""The worker's lease: renewed from a thread of its own, so that a busy event loop is not a death.

Validity counts from before a renewal was sent, on the monotonic clock. Past 0.8 of the lease's life
without a renewal the worker must not act for its runs: `valid` is false and `gate` waits.
"""

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from trunkline_shared.errors import StartError
from trunkline_shared.owned import report_death
from trunkline_shared.scripts import Scripts

logger = logging.getLogger("trunkline.lease")

VALID_SHARE = 0.8  # of the lease's life; the rest is for the answer of the slowest command
LOOP_STALL_S = 10.0  # a loop that has not ticked for so long is wedged, and the lease may go


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one renewal told.

    `held` is None when Redis holds as many runs as the worker knows. `lost` names the runs that
    were taken over while the lease was in doubt.
    """

    cancels: tuple[str, ...]
    held: frozenset[str] | None
    lost: frozenset[str]


class LeaseKeeper:
    """Takes, renews and recovers one worker's lease.

    `known()` gives `(run id, epoch)` of the runs the worker executes, as a snapshot; it is called
    on the event loop. `on_renewal` runs on the event loop after every renewal.
    """

    def __init__(
        self,
        client: Redis,
        scripts: Scripts,
        *,
        worker_id: str,
        pools: Sequence[str],
        agents: Sequence[str],
        ttl_ms: int,
        known: Callable[[], list[tuple[str, int]]],
        on_renewal: Callable[[Renewal], None],
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._worker_id = worker_id
        self._pools = tuple(pools)
        self.announce(agents)
        self._valid_s = ttl_ms / 1000 * VALID_SHARE
        self._every_s = ttl_ms / 1000 / 3
        self._known = known
        self._on_renewal = on_renewal
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # a thread has one of its own
        self._runs: list[tuple[str, int]] = []
        self._valid_until = 0.0
        self._ticked = time.monotonic()
        self._draining = False
        self._stop = threading.Event()
        self._open = asyncio.Event()
        self._thread: threading.Thread | None = None

    @property
    def valid(self) -> bool:
        return time.monotonic() < self._valid_until

    def announce(self, agents: Sequence[str]) -> None:
        """What the worker can run, for whenever all of it has to be announced anew."""
        self._tail: list[str | int] = [len(self._pools), *self._pools, len(agents), *agents]

    async def gate(self) -> None:
        """Returns while the lease is surely held; otherwise waits until it is again."""
        while not self.valid:
            self._open.clear()
            await self._open.wait()

    async def start(self) -> None:
        """Takes the lease. Raises StartError when Redis refuses it, or is away."""
        sent_at = time.monotonic()
        try:
            first = await asyncio.to_thread(self._call, "start", -1, [])
        except (RedisError, OSError) as error:
            raise StartError(f"Redis did not give the worker its lease: {error}") from error
        if first is None:
            raise StartError(f"the lease of worker {self._worker_id} is taken")
        self._valid_until = sent_at + self._valid_s
        self._thread = threading.Thread(target=self._renew_forever, name="lease", daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """From the next renewal on the worker no longer counts as one that takes runs."""
        self._draining = True

    async def aclose(self) -> None:
        """Ends the renewals. What Redis knows of the lease is for the caller to remove."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._client.close()

    def _renew_forever(self) -> None:
        while not self._stop.wait(self._every_s):
            self._loop.call_soon_threadsafe(self._tick)
            if time.monotonic() - self._ticked > LOOP_STALL_S:
                logger.error("the event loop has not moved for %.0f s", LOOP_STALL_S)
                continue
            try:
                self._renew()
            except (RedisError, OSError) as error:
                logger.warning("the lease was not renewed: %s", error)
            except Exception as error:  # noqa: BLE001  # a thread's end is seen by nobody
                self._loop.call_soon_threadsafe(
                    report_death, self._loop, "the lease", error, context=self._context
                )
                return

    def _tick(self) -> None:
        self._ticked = time.monotonic()
        self._runs = self._known()

    def _renew(self) -> None:
        runs = self._runs
        recover = not self.valid
        sent_at = time.monotonic()
        renewal = None if recover else self._call("renew", len(runs), [])
        if renewal is not None:
            self._valid_until = sent_at + self._valid_s
        else:
            sent_at = time.monotonic()
            renewal = self._call("recover", -1, runs)
        if renewal is not None:
            self._loop.call_soon_threadsafe(self._renewed, renewal, sent_at + self._valid_s)

    def _renewed(self, renewal: Renewal, valid_until: float) -> None:
        self._on_renewal(renewal)
        # After a recovery only now, when the runs that were lost have been dropped.
        self._valid_until = max(self._valid_until, valid_until)
        self._open.set()

    def _call(self, mode: str, known: int, runs: list[tuple[str, int]]) -> Renewal | None:
        """One renewal; None when the lease is not ours any more."""
        flat: list[str | int] = [value for run in runs for value in run]
        head = (self._worker_id, mode, known, int(self._draining))
        command = self._scripts.call("renew", *head, *self._tail, *flat)
        execute: Callable[..., Any] = self._client.execute_command
        try:
            answer = execute(*command)
        except NoScriptError:
            execute("SCRIPT", "LOAD", self._scripts.texts["renew"])
            answer = execute(*command)
        if answer[0] != b"ok":
            return None
        cancels = tuple(run_id.decode() for run_id in answer[1])
        listed = None if answer[2] is None else frozenset(run_id.decode() for run_id in answer[2])
        if mode != "recover":
            return Renewal(cancels, listed, frozenset())
        return Renewal(cancels, None, frozenset(run_id for run_id, _ in runs) - (listed or set()))
