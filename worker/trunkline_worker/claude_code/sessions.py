"""The command line's sessions of conversations, kept in Redis for whichever worker is next."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.vault import Vault


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run added to a session: lines of the command line's record.

    `covers` is the digest of all that was said up to its end, `agent` whose session it is.
    """

    run_id: str
    agent: str
    session: str
    covers: str
    entries: list[dict[str, Any]]


class Sessions(Protocol):
    """Where sessions are kept."""

    async def load(self, conversation: str) -> list[Taken]:
        """All of the conversation's last session, in order. Raises RedisUnavailable, Unreadable."""

    async def save(self, conversation: str, taken: Taken, *, new: bool) -> None:
        """Adds a run to the session, or begins a `new` one. Raises RedisUnavailable."""


class NoSessions:
    """Each run begins a session of its own."""

    async def load(self, conversation: str) -> list[Taken]:
        return []

    async def save(self, conversation: str, taken: Taken, *, new: bool) -> None:
        """Nothing is kept."""


class StoredSessions:
    """In Redis, sealed, for `retention_s` from the last run on."""

    def __init__(self, client: Redis, keys: Keys, vault: Vault, retention_s: float) -> None:
        self._client = client
        self._keys = keys
        self._vault = vault
        self._retention_ms = round(retention_s * 1000)

    async def load(self, conversation: str) -> list[Taken]:
        key = self._keys.session(conversation)
        try:
            stored: Sequence[bytes] = await self._client.lrange(key, 0, -1)  # type: ignore[misc]  # redis-py's is also the blocking one's
        except RedisError as error:
            raise RedisUnavailable("the session could not be read") from error
        return [Taken(**orjson.loads(self._vault.open(each))) for each in stored]

    async def save(self, conversation: str, taken: Taken, *, new: bool) -> None:
        key = self._keys.session(conversation)
        async with self._client.pipeline(transaction=True) as pipe:
            if new:
                pipe.delete(key)
            pipe.rpush(key, self._vault.seal(orjson.dumps(asdict(taken))))
            pipe.pexpire(key, self._retention_ms)
            try:
                await pipe.execute()
            except RedisError as error:
                raise RedisUnavailable("the session could not be stored") from error
