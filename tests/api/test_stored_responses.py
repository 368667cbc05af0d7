from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.api.fake_store import KEYS, FakeStore
from trunkline_api.errors import ApiError
from trunkline_api.stored_responses import ANCESTORS
from trunkline_api.stored_runs import Record
from trunkline_shared.events import (
    Attempt,
    Compacted,
    Created,
    Failed,
    Finished,
    RunEvent,
    TextDelta,
)
from trunkline_shared.frame import encode_frame
from trunkline_shared.transcript import Item

ANSWER: tuple[RunEvent, ...] = (TextDelta("hello"), Finished("stop"))


def message(role: Any, text: str) -> Item:
    """As requests have it; of the assistant as a run's answer leaves it."""
    item: Any = {"type": "message", "role": role, "content": [{"type": "text", "text": text}]}
    return {**item, "phase": "final_answer"} if role == "assistant" else item


def record(text: str = "hi", previous: str | None = None, principal: str = "ana") -> Record:
    return Record(principal, "echo", {"user": "u"}, [message("user", text)], previous, 1)


async def test_what_was_stored_is_found_with_its_result() -> None:
    store = FakeStore()
    run_id = await store.respond(record(), *ANSWER)
    found = await store.stored.find(f"resp_{run_id}", "ana")
    assert found is not None and found.folded is not None
    assert (found.run_id, found.record) == (run_id, record())
    assert found.folded.text == "hello"
    assert (found.about.model, found.about.echo) == ("echo", {"user": "u"})


async def test_content_is_sealed() -> None:
    store = FakeStore()
    await store.respond(record("my secret"), TextDelta("another secret"), Finished("stop"))
    assert b"secret" not in b"".join(v for v in store.pipe.values.values() if isinstance(v, bytes))
    clear = FakeStore(secret_key=None)
    run_id = await clear.respond(record(), *ANSWER)
    assert await clear.stored.find(f"resp_{run_id}", "ana") is not None


@pytest.mark.parametrize("response", ["", "resp_", "resp_x", f"resp_a{7:027x}", "chatcmpl-1"])
async def test_what_does_not_exist_is_not_found(response: str) -> None:
    store = FakeStore()
    assert await store.stored.find(response, "ana") is None
    assert not await store.stored.delete(response, "ana")


async def test_what_is_somebody_elses_is_neither_found_nor_deleted() -> None:
    store = FakeStore()
    response = f"resp_{await store.respond(record(), *ANSWER)}"
    assert await store.stored.find(response, "bob") is None
    assert not await store.stored.delete(response, "bob")
    assert await store.stored.find(response, "ana") is not None


async def test_what_was_deleted_is_gone_with_its_result() -> None:
    store = FakeStore()
    run_id = await store.respond(record(), *ANSWER)
    assert await store.stored.delete(f"resp_{run_id}", "ana")
    assert await store.stored.find(f"resp_{run_id}", "ana") is None
    assert not {KEYS.record(run_id), KEYS.result(run_id)} & store.pipe.values.keys()


@pytest.mark.parametrize(
    ("state", "status"),
    [(b"queued", "queued"), (b"waiting", "queued"), (b"running", "in_progress")],
)
async def test_without_a_result_the_runs_state_says_how_far_it_got(
    state: bytes, status: str
) -> None:
    store = FakeStore()
    run_id = await store.respond(record())
    store.state(run_id, state)
    found = await store.stored.find(f"resp_{run_id}", "ana")
    assert found is not None
    assert (found.folded, found.status) == (None, status)


@pytest.mark.parametrize("state", [None, b"done"])
async def test_without_result_and_run_a_response_has_failed(state: bytes | None) -> None:
    store = FakeStore()
    run_id = await store.respond(record())
    store.state(run_id, state)
    found = await store.stored.find(f"resp_{run_id}", "ana")
    assert found is not None and found.folded is not None
    assert isinstance(found.folded.terminal, Failed)
    assert found.folded.terminal.code == "server_error"


async def test_a_result_that_a_script_wrote_in_clear_is_read() -> None:
    store = FakeStore()
    run_id = await store.respond(record())
    store.pipe.values[KEYS.result(run_id)] = b'{"v":1,"end":["failed","worker_lost","It died."]}'
    found = await store.stored.find(f"resp_{run_id}", "ana")
    assert found is not None and found.folded is not None
    assert found.folded.terminal == Failed("worker_lost", "It died.")


async def test_of_a_run_that_others_ended_the_output_is_read_from_its_log_and_kept() -> None:
    store = FakeStore()
    run_id = await store.respond(record())
    lost = Failed("worker_lost", "It died.")
    said: list[list[RunEvent]] = [[Created(1)], [Attempt(1)], [TextDelta("half")], [lost]]
    store.pipe.values[KEYS.result(run_id)] = b'{"v":1,"end":["failed","worker_lost","It died."]}'
    store.pipe.values[KEYS.log(run_id)] = [
        (b"1-1", [b"f", encode_frame(first, events)]) for first, events in enumerate(said, 1)
    ]
    for _ in range(2):
        found = await store.stored.find(f"resp_{run_id}", "ana")
        assert found is not None and found.folded is not None
        assert (found.folded.text, found.folded.terminal) == ("half", lost)
        store.pipe.values.pop(KEYS.log(run_id), None)
    assert store.vault.is_token(store.pipe.values[KEYS.result(run_id)])


@pytest.mark.parametrize("damage", ["record", "result", "version", "key"])
async def test_what_cannot_be_read_is_an_error_of_the_server(damage: str) -> None:
    store = FakeStore()
    run_id = await store.respond(record(), *ANSWER)
    values = store.pipe.values
    if damage == "result":
        values[KEYS.result(run_id)] = b"{}"
    elif damage == "key":
        values[KEYS.record(run_id)] = await FakeStore("other").stored.seal(record())
    else:
        broken = {"v": 99} if damage == "version" else {"v": 1, "unheard": "of"}
        values[KEYS.record(run_id)] = store.vault.seal(orjson.dumps(broken))
    with pytest.raises(ApiError) as caught:
        await store.stored.find(f"resp_{run_id}", "ana")
    assert (caught.value.status, caught.value.code) == (500, "server_error")


@pytest.mark.parametrize("trouble", ["silent", "broken"])
async def test_a_store_that_is_away_is_503(trouble: str) -> None:
    store = FakeStore()
    response = f"resp_{await store.respond(record(), *ANSWER)}"
    setattr(store.pipe, trouble, True)
    for asking in (store.stored.find, store.stored.delete, store.stored.history):
        with pytest.raises(ApiError) as caught:
            await asking(response, "ana")
        assert (caught.value.status, caught.value.code) == (503, "redis_unavailable")


async def test_a_chain_is_all_that_was_asked_and_said_in_order() -> None:
    store = FakeStore()
    previous = None
    for turn in ("one", "two", "three"):
        answer = (TextDelta(f"said {turn}"), Finished("stop"))
        previous = f"resp_{await store.respond(record(turn, previous), *answer)}"
    assert previous is not None
    assert (await store.stored.history(previous, "ana")).items == [
        each
        for turn in ("one", "two", "three")
        for each in (message("user", turn), message("assistant", f"said {turn}"))
    ]


async def test_a_chain_with_a_gap_is_refused_with_its_name() -> None:
    store = FakeStore()
    first = f"resp_{await store.respond(record(), *ANSWER)}"
    second = f"resp_{await store.respond(record('more', first), *ANSWER)}"
    await store.stored.delete(first, "ana")
    for asked in (first, second):
        with pytest.raises(ApiError, match=first) as caught:
            await store.stored.history(asked, "ana")
        error = caught.value
        assert (error.status, error.code) == (400, "previous_response_not_found")
        assert error.param == "previous_response_id"
    with pytest.raises(ApiError, match="not found"):
        await store.stored.history(second, "bob")


async def test_a_chain_is_not_longer_than_a_request_may_be() -> None:
    store = FakeStore(max_bytes=3500)
    first = f"resp_{await store.respond(record('x' * 1500), *ANSWER)}"
    assert len((await store.stored.history(first, "ana")).items) == 2
    second = f"resp_{await store.respond(record('x' * 1500, previous=first), *ANSWER)}"
    with pytest.raises(ApiError, match="3500 bytes") as caught:
        await store.stored.history(second, "ana")
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")


async def test_nothing_before_a_compaction_has_to_be_there_or_counts() -> None:
    store = FakeStore(max_bytes=3500)
    first = await store.respond(record("x" * 1500), *ANSWER)
    second = await store.respond(record("two", f"resp_{first}"), Compacted("sealed"), *ANSWER)
    asked = replace(record("x" * 1500, f"resp_{second}"), ancestors=[second, first])
    third = await store.respond(asked, *ANSWER)
    assert await store.stored.delete(f"resp_{first}", "ana")
    history = await store.stored.history(f"resp_{third}", "ana")
    said = [item.get("role", item["type"]) for item in history.items]
    assert said == ["user", "opaque", "assistant", "user", "assistant"]
    assert history.ancestors == [third, second]


async def test_a_response_that_has_not_ended_cannot_be_followed() -> None:
    store = FakeStore()
    with pytest.raises(ApiError, match="has not ended") as caught:
        await store.stored.history(f"resp_{await store.respond(record())}", "ana")
    assert (caught.value.status, caught.value.param) == (400, "previous_response_id")


async def test_what_is_large_comes_back_whole_too() -> None:
    store, text = FakeStore(), "word " * 50_000
    run_id = await store.respond(record(text), TextDelta(text), Finished("stop"))
    history = await store.stored.history(f"resp_{run_id}", "ana")
    assert history.items == [message("user", text), message("assistant", text)]


async def test_a_long_chain_is_read_in_a_round_trip_for_32_of_them() -> None:
    store = FakeStore()
    ancestors: list[str] = []
    for turn in range(100):
        previous = f"resp_{ancestors[0]}" if ancestors else None
        asked = replace(record(str(turn), previous), ancestors=ancestors[:ANCESTORS])
        ancestors.insert(0, await store.respond(asked, *ANSWER))
    store.pipe.asked = 0
    history = await store.stored.history(f"resp_{ancestors[0]}", "ana")
    assert store.pipe.asked == 5  # itself, three times 32, three more
    assert history.items[::2] == [message("user", str(turn)) for turn in range(100)]
    assert history.ancestors == ancestors[:ANCESTORS]
