"""Runs of one conversation go one after the other, whoever ends them."""

import orjson
import pytest

from tests.contract.script_bed import HOUR_MS, Bed
from trunkline_shared import fold
from trunkline_shared.conversation import decode_turn
from trunkline_shared.events import Failed, Finished, TextDelta
from trunkline_shared.run import new_run_id
from trunkline_worker.execute import Claimed

ID = "11111111-2222-3333-4444-555555555555"
RETENTION_MS = 30 * 24 * HOUR_MS


async def submit(bed: Bed, conversation: str = ID, **wanted: object) -> str:
    return await bed.submit(conversation=conversation, **wanted)


async def conversation(bed: Bed, name: str = ID) -> dict[str, str]:
    values = await bed.redis.hgetall(bed.keys.conversation(name))
    return {key.decode(): value.decode() for key, value in values.items()}


async def turns(bed: Bed) -> list[bytes]:
    return [*await bed.redis.lrange(bed.keys.turns(ID), 0, -1)]


async def waiting(bed: Bed) -> list[str]:
    return [each.decode() for each in await bed.redis.lrange(bed.keys.waiting(ID), 0, -1)]


async def end(bed: Bed, run: Claimed) -> None:
    assert await bed.finish(run, 3, Finished("stop"), turn=b'"turn of %s"' % run.run_id.encode())


@pytest.fixture(autouse=True)
async def worker(bed: Bed) -> None:
    await bed.renew()


async def test_the_first_run_makes_the_conversation_and_has_the_turn(bed: Bed) -> None:
    run_id = await submit(bed, principal="ada")
    made = await conversation(bed)
    assert (made["principal"], made["run"], made["model"]) == ("ada", run_id, "agent")
    assert await bed.queued() == [run_id]
    assert await bed.redis.zrange(bed.keys.conversations("ada"), 0, -1) == [ID.encode()]
    assert 0 < await bed.redis.pttl(bed.keys.conversation(ID)) <= RETENTION_MS


async def test_later_runs_wait_without_a_place_in_the_queue_and_get_their_turns_in_order(
    bed: Bed,
) -> None:
    ids = [await submit(bed) for _ in range(3)]
    assert (await waiting(bed), await bed.queued()) == (ids[1:], ids[:1])
    for number, run_id in enumerate(ids):
        (run,) = await bed.claim()
        assert run.run_id == run_id
        assert await bed.claim() == []
        await end(bed, run)
        assert len(await turns(bed)) == number + 1
    assert await conversation(bed) == {**await conversation(bed), "status": "finished"}
    assert "run" not in await conversation(bed)
    for run_id in ids:
        assert await bed.traces(run_id) == []


async def test_the_queue_clock_of_a_waiting_run_starts_with_its_turn(bed: Bed) -> None:
    first, second = [await submit(bed, queue_timeout_ms=60_000, wait_ms=10_000) for _ in range(2)]
    waits_until = int((await bed.state(second))["exp"])
    (run,) = await bed.claim()
    await end(bed, run)
    assert int((await bed.state(second))["exp"]) > waits_until + 40_000
    assert (await bed.state(second))["st"] == "queued" and first != second


async def test_a_run_that_waited_too_long_ends_and_leaves_no_turn(bed: Bed) -> None:
    await submit(bed)
    late = await submit(bed, wait_ms=0)
    assert (await bed.sweep())[1] == 1
    failed = (await bed.events(late))[-1]
    assert isinstance(failed, Failed) and failed.code == "conversation_busy"
    assert await turns(bed) == [] and await bed.traces(late) == []


async def test_a_crash_before_anything_was_shown_keeps_the_turn(bed: Bed) -> None:
    first, second = [await submit(bed) for _ in range(2)]
    await bed.claim()
    await bed.crash("w")
    await bed.renew("w2")
    (run,) = await bed.claim("w2")
    assert (run.run_id, run.attempt, await waiting(bed)) == (first, 2, [second])


async def test_a_run_that_is_lost_after_output_leaves_a_turn_without_content_and_calls_the_next(
    bed: Bed,
) -> None:
    first, second = await submit(bed, stream=True), await submit(bed)
    (run,) = await bed.claim()
    await bed.append(run, 3, TextDelta("shown"))
    await bed.crash("w")
    await bed.renew("w2")
    assert await bed.claim("w2") == []
    (next_run,) = await bed.claim("w2")
    assert next_run.run_id == second
    (turn,) = [orjson.loads(each) for each in await turns(bed)]
    assert (turn["run_id"], turn["outcome"]) == (first, "worker_lost")
    assert (await conversation(bed))["status"] == "error"


async def test_cancelling_the_run_that_has_the_turn_calls_the_next(bed: Bed) -> None:
    first, second, third = [await submit(bed) for _ in range(3)]
    assert await bed.cancel(second) == "cancelled"
    assert await bed.cancel(first) == "cancelled"
    assert (await bed.queued(), await waiting(bed)) == ([third], [])
    assert await turns(bed) == []


async def test_more_than_may_wait_are_refused(bed: Bed) -> None:
    await submit(bed)
    await submit(bed, max_waiting=1)
    assert await bed.admit(conversation=ID, max_waiting=1) == "conversation_full"


async def test_a_waiting_run_needs_no_room_in_the_queue(bed: Bed) -> None:
    await submit(bed)
    await submit(bed, max_queue=1)


async def test_a_conversation_is_its_principals_alone(bed: Bed) -> None:
    await submit(bed, principal="ada")
    assert await bed.admit(conversation=ID, principal="eve") == "conversation_not_found"


async def test_unknown_ids_may_be_refused(bed: Bed) -> None:
    assert await bed.admit(conversation=ID, unknown="refuse") == "conversation_not_found"
    await submit(bed)
    await submit(bed, unknown="refuse")


async def test_submitting_the_same_run_twice_takes_one_turn(bed: Bed) -> None:
    first, second = await submit(bed), await submit(bed)
    for run_id in (first, second):
        assert await bed.admit(run_id, conversation=ID) == "ok"
    assert (await bed.queued(), await waiting(bed)) == ([first], [second])


async def test_a_conversation_whose_run_vanished_goes_on(bed: Bed) -> None:
    lost, waits = await submit(bed), await submit(bed)
    await bed.redis.delete(bed.keys.run(lost), bed.keys.log(lost))
    await bed.redis.delete("contract:sweep:tidy")
    await bed.sweep()
    assert (await conversation(bed))["run"] == waits
    assert await waiting(bed) == []


async def test_a_new_run_takes_over_from_one_that_vanished(bed: Bed) -> None:
    lost = await submit(bed)
    await bed.redis.delete(bed.keys.run(lost), bed.keys.log(lost), bed.keys.job(lost))
    run_id = await submit(bed)
    assert (await conversation(bed))["run"] == run_id


async def test_all_runs_of_a_conversation_are_cancelled_together(bed: Bed) -> None:
    running, *others = [await submit(bed) for _ in range(3)]
    await bed.claim()
    answer = await bed.call("cancel", ID, "It was paused.", "conversation", "someone")
    assert answer == [b"ok", running.encode()]
    for run_id in others:
        assert isinstance((await bed.events(run_id))[-1], Failed)
        assert await bed.traces(run_id) == []
    assert (await conversation(bed))["run"] == running


@pytest.mark.parametrize("mode", ["conversation", "delete"])
async def test_a_conversation_of_others_cannot_be_cancelled(bed: Bed, mode: str) -> None:
    await submit(bed, principal="ada")
    assert await bed.call("cancel", ID, "x", mode, "eve") == b"gone"
    assert await bed.call("cancel", new_run_id(), "x", mode, "ada") == b"gone"
    assert await conversation(bed)


async def test_a_deleted_conversation_is_not_brought_back_by_the_end_of_its_run(bed: Bed) -> None:
    await submit(bed)
    await submit(bed)
    (run,) = await bed.claim()
    await bed.redis.hset(bed.keys.about(ID), "title", "x")
    assert await bed.call("cancel", ID, "Deleted.", "delete", "someone") == [
        b"ok",
        run.run_id.encode(),
    ]
    await end(bed, run)
    names = {key.decode() async for key in bed.redis.scan_iter()}
    assert not [name for name in names if ID in name]
    assert await bed.redis.zcard(bed.keys.conversations("someone")) == 0


async def test_webhooks_hear_of_each_turn_if_they_want_to(bed: Bed) -> None:
    await submit(bed)
    heard = await submit(bed, hooks=True)
    for _ in range(2):
        (run,) = await bed.claim()
        await end(bed, run)
    ((_, fields),) = await bed.redis.xrange(bed.keys.outbox)
    assert fields == {b"c": ID.encode(), b"r": heard.encode()}


async def test_a_stored_run_has_its_record_and_its_result(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked")
    (run,) = await bed.claim()
    await bed.finish(run, 3, Finished("stop"), result=b"folded")
    assert await bed.redis.get(bed.keys.record(run_id)) == b"asked"
    assert await bed.redis.get(bed.keys.result(run_id)) == b"folded"
    for key in (bed.keys.record(run_id), bed.keys.result(run_id)):
        assert 0 < await bed.redis.pttl(key) <= RETENTION_MS


async def test_a_stored_run_that_others_end_has_a_result_too(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked")
    await bed.finish_for(run_id, "worker_lost")
    result = orjson.loads(await bed.redis.get(bed.keys.result(run_id)))
    assert result["end"][:2] == ["failed", "worker_lost"]


async def test_a_run_that_fails_before_its_worker_knew_more_tells_how_it_ended(bed: Bed) -> None:
    run_id = await submit(bed, record=b"asked")
    (run,) = await bed.claim()
    await bed.finish(run, 3, Failed("agent_unavailable", "No."), outcome="failed")
    result = fold.decode(await bed.redis.get(bed.keys.result(run_id)))
    assert result.terminal == Failed("agent_unavailable", "No.")
    (turn,) = map(decode_turn, await turns(bed))
    assert (turn.run_id, turn.outcome, turn.message) == (run_id, "agent_unavailable", "No.")


async def test_whoever_deletes_the_record_gets_no_result(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked")
    (run,) = await bed.claim()
    await bed.redis.delete(bed.keys.record(run_id))
    await bed.finish(run, 3, Finished("stop"), result=b"folded")
    assert not await bed.redis.exists(bed.keys.result(run_id))


async def test_a_plain_run_stores_nothing(bed: Bed) -> None:
    run_id = await bed.submit()
    await bed.finish_for(run_id)
    assert not await bed.redis.exists(bed.keys.result(run_id))


async def tidy(bed: Bed) -> None:
    await bed.redis.delete("contract:sweep:tidy")
    await bed.sweep()


async def test_a_run_that_waits_for_an_api_process_that_is_gone_gives_up_its_turn(bed: Bed) -> None:
    await submit(bed)
    left, kept = await submit(bed, reply="nobody"), await submit(bed)
    await tidy(bed)
    assert await waiting(bed) == [left, kept]
    await bed.set_state(left, deaf=int((await bed.state(left))["deaf"]) - 10_000)
    await tidy(bed)
    assert await waiting(bed) == [kept]
    failed = (await bed.events(left))[-1]
    assert isinstance(failed, Failed) and failed.code == "cancelled"
    assert await bed.traces(left) == []


async def test_a_run_whose_api_process_listens_again_goes_on_waiting(bed: Bed) -> None:
    await submit(bed)
    waits = await submit(bed, reply="somebody")
    await tidy(bed)
    await bed.set_state(waits, deaf=1)
    async with bed.redis.pubsub() as listener:
        await listener.subscribe("somebody")
        await listener.get_message(timeout=5)
        await tidy(bed)
    assert await waiting(bed) == [waits] and "deaf" not in await bed.state(waits)


async def test_a_new_run_does_not_wait_behind_those_that_vanished(bed: Bed) -> None:
    lost = [await submit(bed) for _ in range(2)]
    await bed.redis.delete(*map(bed.keys.run, lost), *map(bed.keys.log, lost))
    run_id = await submit(bed)
    assert (await conversation(bed))["run"] == run_id and await waiting(bed) == []
