from tests.contract.script_bed import Bed
from trunkline_shared.events import Failed, Finished
from trunkline_shared.run import new_run_id


async def test_a_waiting_run_is_over_with_its_cancel(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    assert await bed.cancel(run_id) == "cancelled"
    event = (await bed.events(run_id))[-1]
    assert isinstance(event, Failed) and event.code == "cancelled"
    assert await bed.queued() == []
    assert await bed.traces(run_id) == []
    assert await bed.claim() == []


async def test_the_owner_of_a_running_run_is_told_at_once_and_by_its_renewals(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    listener = bed.redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe(bed.keys.control("w"))
    assert await bed.cancel(run_id) == "told"
    message = None
    while message is None:
        message = await listener.get_message(timeout=5)
    await listener.aclose()
    assert message["data"] == run_id.encode()
    for _ in range(2):
        _, cancels, _ = await bed.renew(mode="renew", known=1)
        assert cancels == [run_id.encode()]
    assert (await bed.state(run_id))["st"] == "running"


async def test_cancelling_twice_is_cancelling_once(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    (run,) = await bed.claim()
    assert [await bed.cancel(run_id), await bed.cancel(run_id)] == ["told", "told"]
    await bed.finish(run, 3, Failed("cancelled", "x"), outcome="cancelled")
    assert await bed.cancel(run_id) == "done"
    assert len(await bed.events(run_id)) == 3


async def test_a_run_that_is_over_stays_as_it_ended(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    (run,) = await bed.claim()
    await bed.finish(run, 3, Finished("stop"))
    assert await bed.cancel(run_id) == "done"
    assert (await bed.state(run_id))["out"] == "finished"


async def test_a_run_that_never_was_is_gone(bed: Bed) -> None:
    assert await bed.cancel(new_run_id()) == "gone"


async def test_a_cancelled_run_whose_worker_dies_ends_as_cancelled(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    await bed.cancel(run_id)
    await bed.crash("w")
    event = (await bed.events(run_id))[-1]
    assert isinstance(event, Failed) and event.code == "cancelled"
    assert await bed.queued() == []
    assert await bed.traces(run_id) == []


async def test_a_cancelled_run_that_is_handed_back_ends_as_cancelled(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    await bed.cancel(run_id)
    assert await bed.hand_back("w", run_id) == [run_id]
    assert (await bed.state(run_id))["out"] == "cancelled"
    assert await bed.queued() == []
    assert await bed.traces(run_id) == []
