from tests.contract.script_bed import POOL, Bed
from trunkline_shared.run import new_run_id


async def test_a_lease_that_is_held_cannot_be_taken(bed: Bed) -> None:
    assert await bed.renew(mode="start", known=0) == [b"ok", [], None]
    assert await bed.renew(mode="start") == [b"lost"]


async def test_a_lease_lasts_three_seconds_from_every_renewal(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.pexpire(bed.keys.lease("w"), 500)
    await bed.renew(mode="renew", known=0)
    assert 500 < await bed.redis.pttl(bed.keys.lease("w")) <= 3000


async def test_a_lost_lease_is_not_renewed_but_recovered(bed: Bed) -> None:
    await bed.renew()
    await bed.kill("w")
    assert await bed.renew(mode="renew", known=0) == [b"lost"]
    assert not await bed.redis.exists(bed.keys.lease("w"))
    assert await bed.renew(mode="recover") == [b"ok", [], []]
    assert await bed.redis.exists(bed.keys.lease("w"))


async def test_a_lease_that_was_never_lost_is_recovered_as_well(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.pexpire(bed.keys.lease("w"), 500)
    assert await bed.renew(mode="recover") == [b"ok", [], []]
    assert await bed.redis.pttl(bed.keys.lease("w")) > 500


async def test_recovery_names_the_runs_that_are_still_its_own(bed: Bed) -> None:
    await bed.renew()
    kept, ended = await bed.submit(), await bed.submit()
    epochs = {run.run_id: run.epoch for run in await bed.claim()}
    await bed.kill("w")
    await bed.finish_for(ended)
    known = ((kept, epochs[kept]), (ended, epochs[ended]), (new_run_id(), 1))
    _, _, own = await bed.renew(mode="recover", runs=known)
    assert own == [kept.encode()]


async def test_recovery_gives_up_runs_that_were_taken_over(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    (run,) = await bed.claim()
    await bed.crash("w")
    assert (await bed.renew(mode="recover", runs=((run_id, run.epoch),)))[2] == []
    (again,) = await bed.claim()
    assert (await bed.renew(mode="recover", runs=((run_id, run.epoch),)))[2] == []
    own = (await bed.renew(mode="recover", runs=((run_id, again.epoch),)))[2]
    assert own == [run_id.encode()]


async def test_held_runs_are_listed_only_when_the_worker_knows_another_number(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    assert await bed.renew(mode="renew", known=1) == [b"ok", [], None]
    assert await bed.renew(mode="renew", known=0) == [b"ok", [], [run_id.encode()]]


async def test_a_draining_worker_no_longer_counts_but_keeps_its_lease(bed: Bed) -> None:
    await bed.renew()
    await bed.renew(mode="renew", known=0, draining=True)
    assert await bed.redis.zscore(bed.keys.workers(POOL), "w") is None
    assert await bed.redis.exists(bed.keys.lease("w"))
    assert await bed.admit() == "agent_unavailable"


async def test_a_worker_that_recovers_can_be_given_its_agents_again(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.flushdb()
    await bed.renew(mode="recover")
    run_id = await bed.submit()
    assert [run.run_id for run in await bed.claim()] == [run_id]


async def test_a_second_worker_under_the_same_pools_is_a_worker_of_its_own(bed: Bed) -> None:
    await bed.renew("w1", pools=("a", "b"))
    await bed.renew("w2", pools=("b",))
    assert await bed.redis.zcard(bed.keys.workers("a")) == 1
    assert await bed.redis.zcard(bed.keys.workers("b")) == 2
