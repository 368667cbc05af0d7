"""Runs that are read by somebody else than the one who asked, or later: they go on without him."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from trunkline_api.client import Client
from trunkline_api.drops import dropped
from trunkline_api.errors import from_failure, redis_away
from trunkline_api.gateway import Shutdown
from trunkline_api.hub import Reader, ReaderClosed
from trunkline_api.lookup import Lookup
from trunkline_api.relay import Relay, failure_of
from trunkline_api.runs import Runs
from trunkline_api.submission import Admission
from trunkline_api.tail import LogGone, Tail
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import RunRequest

_CANCELLED: Final = "The response was cancelled."
ENDS_S = 10.0  # a cancelled run ends within half of this, or is ended


class Watch:
    """Begins runs in the background, and opens readers of runs that are there."""

    def __init__(
        self, runs: Runs, tail: Tail, pipe: Pipe, lookup: Lookup, keys: Keys, shutdown: Shutdown
    ) -> None:
        self._runs = runs
        self._tail = tail
        self._pipe = pipe
        self._lookup = lookup
        self._keys = keys
        self._shutdown = shutdown

    @asynccontextmanager
    async def begun(self, request: RunRequest, admission: Admission) -> AsyncIterator[None]:
        """Begins a run that nobody waits for. Raises what `Runs.submit` raises."""
        try:
            await self._runs.submit(request, admission)
        except (Refused, RedisUnavailable):
            raise
        except BaseException:
            self._runs.cancel_soon(request.run_id)  # it may have been admitted; nobody has its id
            raise
        yield

    @asynccontextmanager
    async def run(
        self, request: RunRequest, admission: Admission, client: Client
    ) -> AsyncIterator[Relay]:
        """Begins it, and is its first reader."""
        async with self.begun(request, admission), AsyncExitStack() as stack:
            try:
                relay = await stack.enter_async_context(self.read(request.run_id, client))
            except BaseException:
                self._runs.cancel_soon(request.run_id)  # nobody has its id
                raise
            yield relay

    @asynccontextmanager
    async def read(
        self, run_id: str, client: Client, *, as_asked: bool = False
    ) -> AsyncIterator[Relay]:
        """A relay of the run from its first event on; leaving it changes nothing for the run.

        Who reads it `as_asked`, streamed or not as the run itself is, is not noted as one more.
        Raises LogGone, and ApiError or RedisUnavailable while Redis is away.
        """
        drops = () if as_asked else await self._drops(run_id)
        async with self._tail.reading(run_id) as reader:
            reader.look_into_log()
            client.on_leaving(lambda: self._left(reader))
            try:
                yield Relay(reader, self._pipe, self._keys, drops)
            finally:
                await client.forget()

    async def cancel(self, run_id: str) -> None:
        """Returns when the run has ended, which it may have done before.

        Raises ApiError or RedisUnavailable when that is not known in time.
        """
        await self._runs.cancel(run_id, _CANCELLED)
        try:
            async with asyncio.timeout(ENDS_S), self._tail.reading(run_id) as reader:
                while not await self._has_ended(run_id):
                    await reader.wait(ENDS_S)
                    reader.take()
                    reader.behind = False  # its state tells all that is to be known
        except LogGone:
            return
        except TimeoutError:
            raise redis_away() from None
        except ReaderClosed as error:
            raise from_failure(failure_of(error)) from error

    async def _has_ended(self, run_id: str) -> bool:
        (state,) = await self._lookup.ask(("HGET", self._keys.run(run_id), "st"))
        return state in (None, b"done")

    async def _drops(self, run_id: str) -> Sequence[range]:
        # The mark first: from then on no attempt drops anything.
        attempts = await self._runs.note_reader(run_id)
        return await dropped(self._lookup, self._keys.log(run_id)) if attempts > 1 else ()

    def _left(self, reader: Reader) -> None:
        # The server says the same when it shuts down, and then the client is still there.
        if not self._shutdown.draining.is_set():
            reader.close()
