"""Reasoning that clients keep, from the reply that gives it to the request that brings it back."""

from typing import Any

import orjson
import pytest

from tests.api.fake_store import FakeStore
from tests.api.test_responses_route import Asked
from trunkline_shared.events import (
    Attempt,
    Created,
    Finished,
    ReasoningDelta,
    RunEvent,
    TextDelta,
)
from trunkline_shared.vault import Vault

ENCRYPTED = "reasoning.encrypted_content"
THOUGHT: list[list[RunEvent]] = [
    [Created(1), Attempt(1), ReasoningDelta("hm")],
    [ReasoningDelta("In short", 0), TextDelta("4"), Finished("stop")],
]
NEUTRAL = {"type": "reasoning", "text": "hm", "summary": ["In short"]}
MORE = {"role": "user", "content": "more"}


async def given(store: FakeStore, **more: Any) -> dict[str, Any]:
    """The reasoning item of a whole reply."""
    request = {"stream": False, "store": False, "include": [ENCRYPTED], **more}
    reply = await Asked(*THOUGHT, store=store).ask(**request)
    item: dict[str, Any] = orjson.loads(reply.body)["output"][0]
    return item


async def back(item: Any, store: FakeStore) -> Asked:
    return await Asked(*THOUGHT, store=store).ask(input=[item, MORE], store=False)


async def test_sealed_reasoning_comes_back_without_its_text() -> None:
    store = FakeStore()
    item = await given(store)
    sealed = item["encrypted_content"]
    assert sealed.startswith("tlr1_") and "hm" not in sealed
    bare = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    assert (await back(bare, store)).run.transcript[0] == NEUTRAL
    changed = {**item, "content": [{"type": "reasoning_text", "text": "another"}]}
    assert (await back(changed, store)).run.transcript[0] == NEUTRAL


async def test_it_is_sealed_for_those_who_ask_once_it_is_whole() -> None:
    store = FakeStore()
    assert (await given(store, include=[]))["encrypted_content"] is None
    reply = await Asked(*THOUGHT, store=store).ask(include=[ENCRYPTED])
    told = {
        event["type"]: event["item"]["encrypted_content"]
        for event in reply.events
        if event.get("item", {}).get("type") == "reasoning"
    }
    assert told["response.output_item.added"] is None
    assert told["response.output_item.done"] == (await given(store))["encrypted_content"]


async def test_what_is_stored_tells_the_same() -> None:
    store = FakeStore()
    reply = await Asked(*THOUGHT, store=store).ask(stream=False, include=[ENCRYPTED])
    store.submit(reply.run.run_id, reply.record)
    store.finish(reply.run.run_id, *[event for batch in THOUGHT for event in batch])
    found = await store.stored.find(f"resp_{reply.run.run_id}", "anonymous")
    assert found is not None and found.folded is not None and found.about.seal is not None
    sealed = orjson.loads(reply.body)["output"][0]["encrypted_content"]
    assert found.about.seal(found.folded.items[0]) == sealed


@pytest.mark.parametrize("wrong", ["tlr1_", "tlr1_AAAA", "tlr1_not base64!", "tlr1_\u00e4"])
async def test_what_was_not_sealed_here_is_refused(wrong: str) -> None:
    reply = await back({"type": "reasoning", "encrypted_content": wrong}, FakeStore())
    assert (reply.status, reply.error["code"]) == (400, "invalid_encrypted_content")
    assert reply.error["param"] == "input[0].encrypted_content"


async def test_what_was_sealed_for_another_or_with_another_key_is_refused() -> None:
    store = FakeStore()
    item = await given(store)
    theirs = "tlr1_" + store.vault.seal_for("reasoning of bob", b'{"text":"x","summary":[]}')
    assert (await back({**item, "encrypted_content": theirs}, store)).status == 400
    for other in ("another secret", None):
        assert (await back(item, FakeStore(secret_key=other))).status == 400


async def test_what_was_sealed_before_the_key_changed_comes_back() -> None:
    item = await given(FakeStore())
    store = FakeStore()
    store.stored._vault = Vault("new", ["secret"])
    assert (await back(item, store)).run.transcript[0] == NEUTRAL


async def test_without_a_secret_key_nothing_is_sealed() -> None:
    assert (await given(FakeStore(secret_key=None)))["encrypted_content"] is None


async def test_what_other_providers_sealed_is_handed_on_as_it_came() -> None:
    item = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAAABn"}
    kept = (await back(item, FakeStore())).run.transcript[0]
    assert kept["type"] == "opaque" and kept["value"]["encrypted_content"] == "gAAAAABn"
