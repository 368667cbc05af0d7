"""Conversations as they are stored: read, listed, named, forked.

Turns and status are what the scripts write; title and tags are this file's own.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import orjson
from redis.exceptions import RedisError

from trunkline_api.settings import ApiSettings
from trunkline_shared.conversation import Turn, decode_turn
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.keys import Keys
from trunkline_shared.pipe import Pipe
from trunkline_shared.scripts import Argument
from trunkline_shared.vault import Vault

Status: TypeAlias = Literal["idle", "running", "finished", "error", "paused"]

_AT_ONCE = 500  # conversations looked at in one write


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a conversation without its turns. Times are Unix ms."""

    id: str
    principal: str = ""
    created_ms: int = 0
    updated_ms: int = 0
    model: str = ""
    status: Status = "idle"
    forked_from: str = ""
    forked_event: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """`counted_from` is the first turn whose usage counts: a fork may begin its stats afresh."""

    head: Head
    turns: list[Turn] = field(default_factory=list)
    title: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    counted_from: int = 0


@dataclass(frozen=True, slots=True)
class Fork:
    """A copy to be made: of the first `turns` turns, under `id`. `event` is where it was cut."""

    id: str
    turns: int
    event: str = ""
    title: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    counted_from: int = 0


class Conversations:
    """Every method raises RedisUnavailable when Redis does not answer in time."""

    def __init__(self, settings: ApiSettings, keys: Keys, pipe: Pipe, vault: Vault) -> None:
        self._timeout_s = settings.redis_timeout_s
        self._retention_ms = int(settings.retention_of("conversations") * 1000)
        self._keys = keys
        self._pipe = pipe
        self._vault = vault

    async def find(self, conversation: str, principal: str) -> Conversation | None:
        """None also for one of another principal."""
        found = await self.read(conversation)
        return found if found is not None and found.head.principal == principal else None

    async def read(self, conversation: str) -> Conversation | None:
        """The same, whosever it is. Raises Unreadable, and ValueError, for what is stored."""
        values, about, turns = await self._ask(
            ("HGETALL", self._keys.conversation(conversation)),
            ("HGETALL", self._keys.about(conversation)),
            ("LRANGE", self._keys.turns(conversation), 0, -1),
        )
        if not values:
            return None
        known = _fields(about)
        return Conversation(
            _head(conversation, _fields(values), int(known.get("updated", 0))),
            await asyncio.to_thread(self._decoded, turns),
            self._opened(known, "title"),
            self._opened(known, "tags") or {},
            int(known.get("counted_from", 0)),
        )

    async def heads(self, principal: str) -> list[Head]:
        """All conversations of a principal, the last changed one last."""
        key = self._keys.conversations(principal)
        forgotten = _now_ms() - self._retention_ms
        _, listed = await self._ask(
            ("ZREMRANGEBYSCORE", key, "-inf", forgotten),
            ("ZRANGE", key, 0, -1, "WITHSCORES"),
        )
        scores = {id.decode(): int(float(at)) for id, at in _pairs(listed)}
        ids, heads = [*scores], []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            rows = await self._ask(*(("HGETALL", self._keys.conversation(id)) for id in some))
            heads += [
                _head(id, _fields(row), scores[id])
                for id, row in zip(some, rows, strict=True)
                if row
            ]
        return [head for head in heads if head.principal == principal]

    async def begin(self, conversation: str, principal: str, metadata: dict[str, str]) -> int:
        """Makes one without turns under an id that is new; when that was, in Unix ms."""
        key, about, now = (
            self._keys.conversation(conversation),
            self._keys.about(conversation),
            _now_ms(),
        )
        await self._ask(
            ("HSET", key, "principal", principal, "created", now, "updated", now),
            ("HSET", about, "metadata", self._sealed(metadata)),
            ("ZADD", self._keys.conversations(principal), now, conversation),
            *self._prolong(conversation, principal),
        )
        return now

    async def metadata(
        self, conversation: str, principal: str
    ) -> tuple[int, dict[str, str]] | None:
        """When it was made, in Unix ms, and what its caller noted of it; None as for `find`."""
        whose, created, noted = await self._ask(
            ("HGET", self._keys.conversation(conversation), "principal"),
            ("HGET", self._keys.conversation(conversation), "created"),
            ("HGET", self._keys.about(conversation), "metadata"),
        )
        if whose is None or whose.decode() != principal:
            return None
        return int(created or 0), orjson.loads(self._vault.open(noted or b"{}"))

    async def note_places(self, conversation: str, principal: str) -> None:
        """Notes where the turns are, which versions before did not."""
        found = await self.find(conversation, principal)
        if found is not None:
            await self._ask(
                *self._placed(conversation, found.turns), *self._prolong(conversation, principal)
            )

    async def describe(
        self,
        head: Head,
        title: str | None = None,
        tags: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
    ) -> bool:
        """Sets what is not None, and replaces all there was. False when it is gone by now."""
        given = {"title": title, "tags": tags, "metadata": metadata}
        sealed = [(n, self._sealed(value)) for n, value in given.items() if value is not None]
        if not sealed:
            return True
        now = _now_ms()
        words = [part for pair in sealed for part in pair]
        about = self._keys.about(head.id)
        *_, exists = await self._ask(
            ("HSET", about, "updated", now, *words),
            ("ZADD", self._keys.conversations(head.principal), "XX", now, head.id),
            *self._prolong(head.id, head.principal),
            ("EXISTS", self._keys.conversation(head.id)),
        )
        if not exists:
            await self._ask(("DEL", about))
        return bool(exists)

    async def fork(self, source: Conversation, fork: Fork) -> bool:
        """Makes the copy; False when its id is taken."""
        head, now = source.head, _now_ms()
        conversation, turns = self._keys.conversation(fork.id), self._keys.turns(fork.id)
        is_free, _ = await self._ask(
            ("HSETNX", conversation, "principal", head.principal),
            (
                "PEXPIRE",
                conversation,
                self._retention_ms,
            ),  # should this process die before the rest
        )
        if not is_free:
            return False
        values = {"created": now, "updated": now, "model": head.model, "forked_from": head.id}
        about = {"counted_from": fork.counted_from, "tags": self._sealed(fork.tags)}
        if fork.title is not None:
            about["title"] = self._sealed(fork.title)
        await self._ask(
            ("HSET", conversation, *_words(values), "forked_event", fork.event),
            ("COPY", self._keys.turns(head.id), turns),
            ("LTRIM", turns, 0, fork.turns - 1) if fork.turns else ("DEL", turns),
            *self._placed(fork.id, source.turns[: fork.turns]),
            ("HSET", self._keys.about(fork.id), *_words(about)),
            ("ZADD", self._keys.conversations(head.principal), now, fork.id),
            *self._prolong(fork.id, head.principal),
        )
        return True

    def _prolong(self, id: str, principal: str) -> Iterable[tuple[Argument, ...]]:
        """Also takes out of the principal's list what is over: new ones may be all it ever gets."""
        listed = self._keys.conversations(principal)
        yield ("ZREMRANGEBYSCORE", listed, "-inf", _now_ms() - self._retention_ms)
        keys = (self._keys.conversation(id), self._keys.turns(id), self._keys.about(id))
        for key in (*keys, self._keys.places(id), listed):
            yield ("PEXPIRE", key, self._retention_ms)

    def _placed(self, id: str, turns: list[Turn]) -> Iterable[tuple[Argument, ...]]:
        if turns:
            words = _words({turn.run_id: place for place, turn in enumerate(turns)})
            yield ("HSET", self._keys.places(id), *words)

    # In a thread: thousands of turns take a while, and others' streams are on the loop.
    def _decoded(self, turns: list[bytes]) -> list[Turn]:
        return [decode_turn(self._vault.open(turn)) for turn in turns]

    def _sealed(self, value: Any) -> bytes:
        return self._vault.seal(orjson.dumps(value))

    def _opened(self, about: dict[str, bytes], name: str) -> Any:
        return orjson.loads(self._vault.open(about[name])) if name in about else None

    async def _ask(self, *commands: tuple[Argument, ...]) -> list[Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.gather(*(self._pipe.send(*each) for each in commands))
        except TimeoutError:
            raise RedisUnavailable("Redis did not answer in time") from None
        except RedisError as error:
            raise RedisUnavailable(f"Redis refused: {error}") from error


def _head(conversation: str, values: dict[str, bytes], changed_ms: int) -> Head:
    text = {name: value.decode() for name, value in values.items()}
    status = "running" if text.get("run") else text.get("status") or "idle"
    return Head(
        conversation,
        text.get("principal", ""),
        int(text.get("created", 0)),
        max(int(text.get("updated", 0)), changed_ms),
        text.get("model", ""),
        cast(Status, status),
        text.get("forked_from", ""),
        text.get("forked_event", ""),
    )


def _fields(flat: list[bytes] | dict[bytes, bytes]) -> dict[str, bytes]:
    pairs = flat.items() if isinstance(flat, dict) else _pairs(flat)
    return {name.decode(): value for name, value in pairs}


def _pairs(flat: list[bytes]) -> Iterable[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _words(values: dict[str, Any]) -> list[Argument]:
    return [part for pair in values.items() for part in pair]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
