"""The SDK's way to hand on what the command line writes about a session: into the run's journal."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from trunkline_worker.claude_code.progress import Entry

Key: TypeAlias = Mapping[str, Any]


class RunStore:
    """A `claude_agent_sdk.SessionStore`, which that takes by its methods alone.

    `keep` is awaited with each batch of the session's own lines. The SDK is to load nothing: what a
    session is resumed from lies in the command line's directory before it starts.
    """

    def __init__(self, keep: Callable[[str, Sequence[Entry]], Awaitable[None]]) -> None:
        self._keep = keep
        self._kept: dict[tuple[str, str, str], list[Entry]] = {}

    async def append(self, key: Key, entries: list[Entry]) -> None:
        if not entries:
            return
        kept = self._kept.setdefault(_of(key), [])
        known = {entry["uuid"] for entry in kept if "uuid" in entry}
        new = [entry for entry in entries if entry.get("uuid") not in known]
        kept += new
        if new and not key.get("subpath"):
            await self._keep(key["session_id"], new)

    async def load(self, key: Key) -> list[Entry] | None:
        kept = self._kept.get(_of(key))
        return None if kept is None else list(kept)


def _of(key: Key) -> tuple[str, str, str]:
    return key["project_key"], key["session_id"], key.get("subpath") or ""
