"""From a request to its run and back: submit, follow, and cancel what nobody waits for."""

from types import TracebackType

from trunkline_api.client import Client
from trunkline_api.gateway import Shutdown
from trunkline_api.hub import Hub, Reader
from trunkline_api.relay import Relay
from trunkline_api.runs import Runs
from trunkline_api.submission import Admission
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

    def run(self, request: RunRequest, admission: Admission, client: Client) -> "Following":
        """`async with` submits the run and gives its relay; leaving before its end cancels it.

        Raises what `Runs.submit` raises. Inside, the relay raises ReaderClosed as soon as the
        client has left.
        """
        return Following(self, request, admission, client)


class Following:
    """One run that is followed. Lets go of the request, which may be large, once it was sent."""

    __slots__ = ("_asked", "_client", "_follow", "_reader", "_relay")

    def __init__(
        self, follow: Follow, request: RunRequest, admission: Admission, client: Client
    ) -> None:
        self._follow = follow
        self._asked: tuple[RunRequest, Admission] | None = (request, admission)
        self._client = client
        self._reader: Reader
        self._relay: Relay

    async def __aenter__(self) -> Relay:
        follow = self._follow
        assert self._asked is not None
        request, admission = self._asked
        self._reader = follow._hub.register(request.run_id)
        try:
            await follow._runs.submit(request, admission)
        except (Refused, RedisUnavailable):
            follow._hub.release(self._reader)
            raise
        except BaseException:
            follow._hub.release(self._reader)
            follow._runs.cancel_soon(request.run_id)  # it may have been admitted
            raise
        self._asked = None
        self._relay = Relay(self._reader, follow._pipe, follow._keys)
        self._client.on_leaving(self._left)
        return self._relay

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._follow._hub.release(self._reader, over=self._relay.ended)
        if not self._relay.ended:
            # Who left wants no more of it; whose process ends may not be the only one who reads it.
            is_closing = self._follow._shutdown.closing.is_set()
            self._follow._runs.cancel_soon(self._reader.run_id, if_unread=is_closing)
        await self._client.forget()

    def _left(self) -> None:
        # The server says the same when it shuts down, and then the client is still there.
        if not self._follow._shutdown.draining.is_set():
            self._reader.close()
