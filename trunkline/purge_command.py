"""`trunkline purge`: what is stored, removed before its retention ends."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from trunkline.kept_redis import connected, deployment
from trunkline.settings import ServeSettings
from trunkline.spans import seconds_of
from trunkline.table import aligned
from trunkline_shared.errors import ConfigError, StartError
from trunkline_shared.keys import Keys
from trunkline_shared.purge import PURGED, Count, Purge, PurgedKind


def run_purge(options: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    """Prints a row for each kind. Raises ConfigError (options) or StartError (no Redis)."""
    settings, data_path = deployment(options, environ)
    principal, before_ms = options["principal"], _before_ms(options["older_than"])
    if principal is None and before_ms is None:
        raise ConfigError("purge removes nothing without --principal, --older-than or both")
    if principal == "":  # of a variable that is not set, say; nobody's is not everybody's
        raise ConfigError("--principal: expected a name")
    kinds = [kind for kind in PURGED if kind in (options["kind"] or PURGED)]
    how = {"before_ms": before_ms, "dry_run": bool(options["dry_run"])}
    counts = asyncio.run(_removed(settings, data_path, kinds, principal, how))
    headings = ("kind", "to remove" if how["dry_run"] else "removed", "in use, left")
    rows = [(kind, str(each.removed), str(each.in_use)) for kind, each in counts.items()]
    print("\n".join(aligned([headings, *rows])))
    return 0


def _before_ms(older_than: str | None) -> int | None:
    if older_than is None:
        return None
    seconds = seconds_of(older_than)
    if seconds is None:
        raise ConfigError(f"--older-than: expected 30d or 12h, got {older_than!r}")
    return int((time.time() - seconds) * 1000)


async def _removed(
    settings: ServeSettings,
    data_path: Path,
    kinds: Sequence[PurgedKind],
    principal: str | None,
    how: Mapping[str, Any],
) -> dict[PurgedKind, Count]:
    async with await connected(settings, data_path) as client:
        purge = Purge(client, Keys(settings.prefix), **how)
        try:
            return {kind: await purge.remove(kind, principal) for kind in kinds}
        except redis.RedisError as error:
            raise StartError(f"Redis did not do all of it: {error}") from error
