"""API keys that are kept in Redis: what is known of each, and how they are made and revoked.

A hash leads from a key's digest to its record; the key itself is kept nowhere. Records are never
deleted: a hash without any would open the door again.
"""

import hashlib
import re
import secrets
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis

from trunkline_shared.errors import ConfigError

PREFIX: Final = "tl_"
ID_LENGTH: Final = 8
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONFIGURED: Final = re.compile(r"anonymous|session|key-\d+")

State: TypeAlias = Literal["active", "expired", "revoked"]


class ApiKey(BaseModel):
    """What Redis holds of a key. Moments are Unix seconds; `models` are patterns."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    name: str
    models: tuple[str, ...] = ("*",)
    max_concurrent: int | None = None  # None: the deployment's limit; 0: none
    admin: bool = False
    created: int
    expires: int | None = None
    revoked: int | None = None

    def state(self, now: float) -> State:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


def digest(key: bytes) -> str:
    """Under which a key is known; its first 8 digits are the key's id."""
    return hashlib.sha256(key).hexdigest()


def encode(key: ApiKey) -> bytes:
    return key.model_dump_json().encode()


def decode(raw: bytes) -> ApiKey | None:
    """None for a record that this version cannot read: such a key opens nothing."""
    try:
        return ApiKey.model_validate_json(raw)
    except ValidationError:
        return None


def check_name(name: str) -> None:
    """Raises ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a key: 1 to 64 letters, digits, '.', '_' or '-'")
    if _CONFIGURED.fullmatch(name):
        raise ConfigError(f"{name!r} stands for a key of the configuration; choose another name")


async def create(client: Redis, hash_key: str, record: ApiKey) -> tuple[str, bool]:
    """A new key, and whether it is the first ever. Raises ConfigError if the name is taken."""
    key = PREFIX + secrets.token_urlsafe(32)

    async def add(pipe: Any) -> bool:
        there = _decoded(await pipe.hgetall(hash_key))
        for other in there.values():
            if other.name == record.name and other.state(record.created) == "active":
                raise ConfigError(
                    f"there is a key named {record.name!r}; choose another name, or revoke it"
                )
        pipe.multi()
        pipe.hset(hash_key, digest(key.encode()), encode(record))
        return not there

    # Watched, and tried again, so that of two who take one name at once one is refused.
    first: bool = await client.transaction(add, hash_key, value_from_callable=True)
    return key, first


async def revoke(client: Redis, hash_key: str, which: str, now: int) -> list[tuple[str, ApiKey]]:
    """Revokes the keys of a name, else the one with an id. Raises ConfigError if there is none."""

    async def mark(pipe: Any) -> list[tuple[str, ApiKey]]:
        found = _named(_decoded(await pipe.hgetall(hash_key)), which)
        if not found:
            raise ConfigError(f"no key to revoke has the name or id {which!r}")
        pipe.multi()
        for each, record in found:
            pipe.hset(hash_key, each, encode(record.model_copy(update={"revoked": now})))
        return found

    revoked: list[tuple[str, ApiKey]]
    revoked = await client.transaction(mark, hash_key, value_from_callable=True)
    return revoked


async def listed(client: Redis, hash_key: str) -> list[tuple[str, ApiKey]]:
    """Digests and records, the oldest first."""
    there = _decoded(await client.hgetall(hash_key))  # type: ignore[misc]  # its types are not fit for `await`
    return sorted(there.items(), key=lambda each: (each[1].created, each[1].name))


def _named(there: dict[str, ApiKey], which: str) -> list[tuple[str, ApiKey]]:
    open_ones = [each for each in there.items() if each[1].revoked is None]
    named = [each for each in open_ones if each[1].name == which]
    if named or len(which) < ID_LENGTH:
        return named
    return [each for each in open_ones if each[0].startswith(which)]


def _decoded(raw: dict[bytes, bytes]) -> dict[str, ApiKey]:
    decoded = ((each.decode(), decode(value)) for each, value in raw.items())
    return {each: record for each, record in decoded if record is not None}
