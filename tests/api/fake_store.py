"""What is stored, as `submit` and `finish` leave it in Redis, behind a pipe without a server."""

import asyncio
from typing import Any

from trunkline_api.lookup import Lookup
from trunkline_api.stored_responses import StoredResponses
from trunkline_api.stored_runs import Record
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.events import Failed, Finished, RunEvent
from trunkline_shared.fold import Fold, encode
from trunkline_shared.keys import Keys
from trunkline_shared.run import RunId, new_run_id
from trunkline_shared.vault import Vault

KEYS = Keys("test")


class FakePipe:
    """Knows GET, HGET, DEL, XRANGE and SET of what is there, and ZREM of what is not.

    `silent` never answers, `broken` fails at once.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.silent = self.broken = False
        self.asked = 0

    async def connected(self) -> None:
        """At once; every question begins with it."""
        self.asked += 1

    def send(self, *command: Any) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.broken:
            reply.set_exception(RedisUnavailable("gone"))
        elif not self.silent:
            reply.set_result(self._answer(*command))
        return reply

    def _answer(self, name: str, *keys: str) -> Any:
        if name == "GET":
            return self.values.get(keys[0])
        if name == "HGET":
            return self.values.get(keys[0], {}).get(keys[1])
        if name == "XRANGE":
            return self.values.get(keys[0], [])
        if name == "SET":
            assert keys[2:] == ("XX", "KEEPTTL")
            self.values |= {keys[0]: keys[1]} if keys[0] in self.values else {}
            return None
        if name == "ZREM":
            return 0
        assert name == "DEL"
        return sum(self.values.pop(key, None) is not None for key in keys)


class FakeStore:
    """`stored` reads what `submit` and `finish` put here."""

    def __init__(self, secret_key: str | None = "secret", *, max_bytes: int = 1024 * 1024) -> None:
        self.pipe = FakePipe()
        self.vault = Vault(secret_key)
        lookup = Lookup(self.pipe, patience_s=0.05)  # type: ignore[arg-type]
        self.stored = StoredResponses(lookup, KEYS, self.vault, max_bytes=max_bytes)

    def submit(self, run_id: str, record: bytes, state: bytes | None = b"queued") -> None:
        self.pipe.values[KEYS.record(run_id)] = record
        self.state(run_id, state)

    def state(self, run_id: str, state: bytes | None) -> None:
        self.pipe.values[KEYS.run(run_id)] = {} if state is None else {"st": state}

    def finish(self, run_id: str, *events: RunEvent) -> None:
        fold = Fold()
        fold.add(1, events)
        self.pipe.values[KEYS.result(run_id)] = self.vault.seal(encode(fold.result()))
        self.state(run_id, b"done")

    async def respond(self, record: Record, *events: RunEvent) -> RunId:
        """A whole response, from its request to its end if `events` have one."""
        run_id = new_run_id()
        self.submit(run_id, await self.stored.seal(record), b"running")
        if events and isinstance(events[-1], Finished | Failed):
            self.finish(run_id, *events)
        return run_id
