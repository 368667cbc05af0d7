"""From a request to its run and back: submit, follow, and cancel what nobody waits for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trunkline_api.exchange import Receive
from trunkline_api.gateway import Shutdown
from trunkline_api.hub import Hub, Reader
from trunkline_api.relay import Relay
from trunkline_api.runs import Admission, Runs
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.run import RunRequest


class Follow:
    """Opens foreground runs. `reply` is this process's channel, for the request to name."""

    def __init__(
        self, runs: Runs, hub: Hub, pipe: Pipe, keys: Keys, *, reply: str, shutdown: Shutdown
    ) -> None:
        self.reply = reply
        self._runs = runs
        self._hub = hub
        self._pipe = pipe
        self._keys = keys
        self._shutdown = shutdown

    @asynccontextmanager
    async def run(
        self, request: RunRequest, admission: Admission, receive: Receive
    ) -> AsyncIterator[Relay]:
        """Submits the run and follows it; leaving before its end cancels it.

        Raises what `Runs.submit` raises. Inside, the relay raises ReaderClosed as soon as the
        client has left.
        """
        reader = self._hub.register(request.run_id)
        relay = Relay(reader, self._pipe, self._keys)
        try:
            await self._runs.submit(request, admission)
        except (Refused, RedisUnavailable):
            self._hub.release(reader)
            raise
        except BaseException:
            self._hub.release(reader)
            self._runs.cancel_soon(request.run_id)  # it may have been admitted
            raise
        watch = asyncio.create_task(self._watch(receive, reader), name="disconnect")
        try:
            yield relay
        finally:
            watch.cancel()
            self._hub.release(reader)
            if not relay.ended:
                self._runs.cancel_soon(request.run_id)
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self, receive: Receive, reader: Reader) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # The server says the same when it shuts down, and then the client is still there.
        if not self._shutdown.draining.is_set():
            reader.close()
