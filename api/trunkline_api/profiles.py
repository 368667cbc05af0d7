"""The saved profiles, in Redis, where every process sees them at once."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from redis.exceptions import ResponseError

from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.llm import Llm
from trunkline_shared.pipe import Pipe
from trunkline_shared.profile import open_llm
from trunkline_shared.vault import Unreadable, Vault

logger = logging.getLogger("trunkline.profiles")

MAX_PROFILES: Final = 50

# One command each, so that no process undoes what another does in between.
_SAVE: Final = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3])
then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
_RENAME: Final = """
local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then return 'missing' end
if ARGV[1] == ARGV[2] then return 'unchanged' end
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then return 'taken' end
redis.call('HSET', KEYS[1], ARGV[2], record)
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('SET', KEYS[2], ARGV[2]) end
return 'renamed'
"""
_ACTIVATE: Final = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""
_DELETE: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
"""

_T = TypeVar("_T")
Renaming = Literal["missing", "unchanged", "taken", "renamed"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A profile in a list; `llm` None if this process lacks the key that it was sealed with."""

    name: str
    llm: Llm | None


class Profiles:
    """Names are the caller's to check. Every call raises RedisUnavailable after `timeout_s`."""

    def __init__(self, pipe: Pipe, keys: Keys, vault: Vault, *, timeout_s: float) -> None:
        self._pipe = pipe
        self._keys = keys
        self._timeout_s = timeout_s
        self.vault = vault

    async def sealed(self, name: str) -> str | None:
        """The record as it is stored, in one round trip."""
        found: bytes | None = await self._answer(self._pipe.send("HGET", self._keys.profiles, name))
        return None if found is None else found.decode()

    async def get(self, name: str) -> Llm | None:
        """Raises Unreadable."""
        sealed = await self.sealed(name)
        return None if sealed is None else open_llm(sealed, self.vault)

    async def names(self) -> list[str]:
        """Sorted."""
        found: list[bytes] = await self._answer(self._pipe.send("HKEYS", self._keys.profiles))
        return sorted(name.decode() for name in found)

    async def all(self) -> list[Listed]:
        """By name."""
        row: list[bytes] = await self._answer(self._pipe.send("HGETALL", self._keys.profiles))
        stored = sorted(zip(row[::2], row[1::2], strict=True))
        return [Listed(name.decode(), self._open(name, sealed)) for name, sealed in stored]

    async def active(self) -> str | None:
        found: bytes | None = await self._answer(self._pipe.send("GET", self._keys.active_profile))
        return None if found is None else found.decode()

    async def save(self, name: str, sealed: str) -> bool:
        """Whether there was room."""
        return bool(await self._run(_SAVE, name, sealed, MAX_PROFILES))

    async def rename(self, name: str, new_name: str) -> Renaming:
        answer: bytes = await self._run(_RENAME, name, new_name)
        return answer.decode()  # type: ignore[return-value]  # one of the script's words

    async def activate(self, name: str) -> bool:
        """Whether there is such a profile."""
        return bool(await self._run(_ACTIVATE, name))

    async def delete(self, name: str) -> None:
        await self._run(_DELETE, name)

    def _open(self, name: bytes, sealed: bytes) -> Llm | None:
        try:
            return open_llm(sealed.decode(), self.vault)
        except Unreadable as error:
            logger.warning("profile %s: %s", name.decode(), error)
            return None

    async def _run(self, script: str, *arguments: str | int) -> Any:
        keys = (self._keys.profiles, self._keys.active_profile)
        return await self._answer(self._pipe.send("EVAL", script, len(keys), *keys, *arguments))

    async def _answer(self, reply: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await reply
        except TimeoutError:
            raise RedisUnavailable("the profiles did not arrive in time") from None
        except ResponseError as error:  # no memory left, or an ACL
            logger.error("redis refused to keep profiles: %s", error)
            raise RedisUnavailable("Redis refused the command") from error
