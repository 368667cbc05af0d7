"""What a reader beside the one who asked changes: from then on what was said counts as shown."""

from tests.contract.script_bed import Bed
from trunkline_shared.events import Attempt, Finished, TextDelta
from trunkline_shared.run import new_run_id


async def note_reader(bed: Bed, run_id: str) -> list[object]:
    return [
        each.decode() if isinstance(each, bytes) else each
        for each in await bed.call("submit", "read", run_id)
    ]


async def test_a_reader_is_told_how_often_the_run_was_begun(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    assert await note_reader(bed, run_id) == ["ok", 0]
    await bed.claim()
    assert await note_reader(bed, run_id) == ["ok", 1]
    assert (await bed.state(run_id))["read"] == "1"
    assert await note_reader(bed, new_run_id()) == ["gone", 0]


async def test_what_nobody_read_is_dropped_and_what_somebody_read_is_not(bed: Bed) -> None:
    await bed.renew()
    unread, read = [await bed.submit(on_lost="continue") for _ in range(2)]
    for run in await bed.claim():
        await bed.append(run, 3, TextDelta("half"))
    await note_reader(bed, read)
    await bed.crash("w")
    await bed.renew("other")
    await bed.claim("other")
    await bed.claim("other")  # the dead worker has its share still
    assert (await bed.events(unread))[-1] == Attempt(2, 3)
    assert (await bed.events(read))[-1] == Attempt(2)


async def test_a_reader_of_a_run_that_has_ended_changes_nothing(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    (run,) = await bed.claim()
    await bed.finish(run, 3, Finished("stop"))
    before = await bed.state(run_id), await bed.redis.pttl(bed.keys.run(run_id))
    assert await note_reader(bed, run_id) == ["ok", 1]
    assert await bed.state(run_id) == before[0]
    assert await bed.redis.pttl(bed.keys.run(run_id)) <= before[1]


async def test_a_run_that_somebody_reads_keeps_its_turn_when_its_api_process_is_gone(
    bed: Bed,
) -> None:
    await bed.renew()
    await bed.submit(conversation="c")
    run_id = await bed.submit(conversation="c", reply="nobody")
    await note_reader(bed, run_id)
    await bed.set_state(run_id, deaf=1)
    await bed.redis.delete("contract:sweep:tidy")
    await bed.sweep()
    assert (await bed.state(run_id))["st"] == "waiting"


async def test_a_cancel_spares_a_run_that_somebody_else_reads_if_it_is_to(bed: Bed) -> None:
    await bed.renew()
    read, unread = [await bed.submit() for _ in range(2)]
    await note_reader(bed, read)
    for run_id, answer in ((read, b"read"), (unread, b"cancelled"), ("r", b"gone")):
        assert await bed.call("cancel", run_id, "Gone.", "unread") == answer
    assert await bed.call("cancel", read, "Gone.") == b"cancelled"
