"""`trunkline keys`: API keys that are kept in Redis."""

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import redis
from redis.asyncio import Redis

from trunkline.kept_redis import connected, deployment
from trunkline.settings import ServeSettings
from trunkline.spans import seconds_of
from trunkline.table import aligned
from trunkline_shared.api_keys import ID_LENGTH, ApiKey, check_name, create, listed, revoke
from trunkline_shared.errors import ConfigError, StartError
from trunkline_shared.keys import Keys

Action: TypeAlias = Callable[[Redis, str], Awaitable[None]]  # on the hash with that key

_HEADINGS: Final = ("name", "id", "models", "at once", "admin", "created", "expires", "state")


def run_keys(options: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    """Runs one action. What another program may want goes to stdout, the rest to stderr.

    Raises ConfigError (options, the name) or StartError (no Redis).
    """
    settings, data_path = deployment(options, environ)
    act = _action(options, int(time.time()))
    asyncio.run(_run(act, settings, data_path))
    return 0


def _action(options: Mapping[str, Any], now: int) -> Action:
    match options["action"]:
        case "create":
            return partial(_create, record=_record(options, now))
        case "revoke":
            return partial(_revoke, which=options["which"], now=now)
        case _:
            return partial(_list, now=now)


async def _run(act: Action, settings: ServeSettings, data_path: Path) -> None:
    async with await connected(settings, data_path) as client:
        try:
            await act(client, Keys(settings.prefix).api_keys)
        except redis.RedisError as error:
            raise StartError(f"Redis did not do it: {error}") from error


async def _create(client: Redis, hash_key: str, record: ApiKey) -> None:
    key, first = await create(client, hash_key, record)
    print(key, flush=True)
    lines = [
        f"This is the key of {record.name}, shown only now: Redis has no more than its digest.",
        "Send it as 'Authorization: Bearer KEY', or give it to a client of OpenAI's as api_key.",
    ]
    if first:
        lines.append("It is the first key here: from now on requests without a key are refused.")
    print("\n".join(lines), file=sys.stderr)


async def _revoke(client: Redis, hash_key: str, which: str, now: int) -> None:
    for digest, key in await revoke(client, hash_key, which, now):
        print(f"revoked {key.name} ({digest[:ID_LENGTH]})")


async def _list(client: Redis, hash_key: str, now: int) -> None:
    rows = [_row(digest, key, now) for digest, key in await listed(client, hash_key)]
    print("\n".join(aligned([_HEADINGS, *rows])))


def _record(options: Mapping[str, Any], now: int) -> ApiKey:
    check_name(options["name"])
    models = tuple(options["models"] or ("*",))
    for pattern in models:
        if not (pattern and pattern.isprintable()):
            raise ConfigError(f"--models: {pattern!r} is no pattern")
    return ApiKey(
        name=options["name"],
        models=models,
        max_concurrent=_count(options["max_concurrent"]),
        admin=bool(options["admin"]),
        created=now,
        expires=_moment(options["expires"], now),
    )


def _count(given: str | None) -> int | None:
    if given is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", given):
        raise ConfigError(f"--max-concurrent: expected a number from 0 on, got {given!r}")
    return int(given)


def _moment(given: str | None, now: int) -> int | None:
    if given is None:
        return None
    seconds = seconds_of(given)
    moment = _at(given) if seconds is None else now + seconds
    if moment is None:
        raise ConfigError(f"--expires: expected 30d, 12h or 2026-12-31, got {given!r}")
    if moment <= now:
        raise ConfigError(f"--expires: {given} is over")
    return moment


def _at(given: str) -> int | None:
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _row(digest: str, key: ApiKey, now: int) -> Sequence[str]:
    return (
        key.name,
        digest[:ID_LENGTH],
        " ".join(key.models),
        "-" if key.max_concurrent is None else str(key.max_concurrent),
        "yes" if key.admin else "-",
        _shown(key.created),
        "-" if key.expires is None else _shown(key.expires),
        key.state(now),
    )


def _shown(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%MZ")
