from collections.abc import Sequence
from typing import Any

import pytest

from trunkline_worker.claude_code.store import RunStore

KEY = {"project_key": "p", "session_id": "s"}


async def drop(session: str, entries: Sequence[dict[str, Any]]) -> None:
    """Nobody keeps it."""


async def test_lines_of_the_session_are_handed_on_once_and_in_order() -> None:
    kept: list[tuple[str, Sequence[dict[str, Any]]]] = []

    async def keep(session: str, entries: Sequence[dict[str, Any]]) -> None:
        kept.append((session, entries))

    store = RunStore(keep)
    first, second, plain = {"uuid": "1"}, {"uuid": "2"}, {"type": "title"}
    await store.append(KEY, [first, plain])
    await store.append(KEY, [first, second, plain])
    await store.append({**KEY, "subpath": "agents/a"}, [{"uuid": "3"}])
    assert kept == [("s", [first, plain]), ("s", [second, plain])]
    assert await store.load(KEY) == [first, plain, second, plain]


@pytest.mark.claude
async def test_it_is_what_the_sdk_asks_of_a_store() -> None:
    testing = pytest.importorskip("claude_agent_sdk.testing")
    await testing.run_session_store_conformance(lambda: RunStore(drop))
