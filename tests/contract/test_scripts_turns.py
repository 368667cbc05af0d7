"""Turns that no run took: added, changed, and found where they are."""

import pytest

from tests.contract.script_bed import HOUR_MS, Bed
from trunkline_shared.events import Finished
from trunkline_shared.run import new_run_id

ID = "11111111-2222-3333-4444-555555555555"
RETENTION_MS = 30 * 24 * HOUR_MS


@pytest.fixture(autouse=True)
async def worker(bed: Bed) -> None:
    await bed.renew()


async def put(bed: Bed, run_id: str, turn: bytes, was: bytes = b"", *, whose: str = "ada") -> str:
    return str((await bed.call("submit", "turn", run_id, ID, whose, turn, was)).decode())


async def taken(bed: Bed, turn: bytes) -> str:
    """A run of the conversation that has ended."""
    run_id = await bed.submit(conversation=ID, principal="ada")
    (run,) = await bed.claim()
    await bed.finish(run, 3, Finished("stop"), turn=turn)
    return run_id


async def turns(bed: Bed) -> list[bytes]:
    return [*await bed.redis.lrange(bed.keys.turns(ID), 0, -1)]


async def places(bed: Bed) -> dict[str, int]:
    found = await bed.redis.hgetall(bed.keys.places(ID))
    return {run_id.decode(): int(place) for run_id, place in found.items()}


async def test_every_turn_is_found_by_its_id(bed: Bed) -> None:
    first, added = await taken(bed, b"one"), new_run_id()
    assert await put(bed, added, b"two") == "ok"
    last = await taken(bed, b"three")
    assert await turns(bed) == [b"one", b"two", b"three"]
    assert await places(bed) == {first: 0, added: 1, last: 2}
    assert 0 < await bed.redis.pttl(bed.keys.places(ID)) <= RETENTION_MS


async def test_a_failed_run_has_a_place_too(bed: Bed) -> None:
    run_id = await bed.submit(conversation=ID, principal="ada")
    await bed.claim()
    await bed.finish_for(run_id)
    assert await places(bed) == {run_id: 0}


async def test_a_turn_that_is_put_twice_is_there_once(bed: Bed) -> None:
    await taken(bed, b"one")
    added = new_run_id()
    assert [await put(bed, added, b"two") for _ in range(2)] == ["ok", "ok"]
    assert await turns(bed) == [b"one", b"two"]


async def test_turns_are_put_while_a_run_has_its_own(bed: Bed) -> None:
    await bed.submit(conversation=ID, principal="ada")
    (run,) = await bed.claim()
    added = new_run_id()
    assert await put(bed, added, b"two") == "ok"
    await bed.finish(run, 3, Finished("stop"), turn=b"one")
    assert await turns(bed) == [b"two", b"one"]
    assert await places(bed) == {added: 0, run.run_id: 1}


async def test_a_turn_is_changed_only_if_it_is_what_it_was(bed: Bed) -> None:
    run_id = await taken(bed, b"one")
    await bed.redis.rpush(bed.keys.session(ID), "what a coding agent noted of it")
    assert await put(bed, run_id, b"other", b"not one") == "changed"
    assert await bed.redis.exists(bed.keys.session(ID))
    assert await put(bed, run_id, b"less", b"one") == "ok"
    assert await put(bed, run_id, b"less", b"one") == "ok", "the first answer may be lost"
    assert await turns(bed) == [b"less"] and not await bed.redis.exists(bed.keys.session(ID))
    assert await put(bed, new_run_id(), b"less", b"one") == "changed"


async def test_a_turn_of_others_and_of_nobody_is_gone(bed: Bed) -> None:
    assert await put(bed, new_run_id(), b"x") == "gone"
    run_id = await taken(bed, b"one")
    assert await put(bed, new_run_id(), b"x", whose="eve") == "gone"
    assert await put(bed, run_id, b"x", b"one", whose="eve") == "gone"
    assert await turns(bed) == [b"one"]


async def test_a_conversation_that_is_deleted_leaves_nothing(bed: Bed) -> None:
    await taken(bed, b"one")
    await put(bed, new_run_id(), b"two")
    await bed.redis.rpush(bed.keys.session(ID), "what a coding agent noted of it")
    await bed.call("cancel", ID, "Deleted.", "delete", "ada")
    names = {key.decode() async for key in bed.redis.scan_iter()}
    assert not [name for name in names if ID in name]
    assert await put(bed, new_run_id(), b"x") == "gone"
