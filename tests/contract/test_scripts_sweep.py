import pytest

from tests.contract.script_bed import POOL, PREFIX, Bed, now_ms
from trunkline_shared.events import Attempt, Failed, TextDelta


async def test_the_runs_of_a_dead_worker_go_back_to_the_head_of_their_queue(bed: Bed) -> None:
    await bed.renew()
    first = await bed.submit()
    score = await bed.redis.zscore(bed.keys.queue(POOL), first)
    (run,) = await bed.claim()
    later = await bed.submit()
    await bed.redis.zadd(bed.keys.queue(POOL), {later: now_ms() + 1000})
    await bed.redis.delete(bed.keys.wake(POOL))
    await bed.kill("w")
    assert await bed.sweep() == (1, 0, 0)
    assert await bed.queued() == [first, later]
    assert await bed.redis.zscore(bed.keys.queue(POOL), first) == score
    assert await bed.tokens() == 1
    state = await bed.state(first)
    assert (state["st"], state["crashes"], state["epoch"]) == ("queued", "1", str(run.epoch))
    assert await bed.sweep() == (0, 0, 0)


async def test_the_runs_of_a_live_worker_stay(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    assert await bed.sweep() == (0, 0, 0)
    assert (await bed.state(run_id))["st"] == "running"


async def test_a_gap_between_sweeps_takes_nothing_for_a_lease_life(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    await bed.kill("w")
    assert await bed.sweep(silent_ms=1_700) == (0, 0, 1)
    assert 2_000 < await bed.redis.pttl(f"{PREFIX}:sweep:hold") <= 3_000
    assert await bed.sweep(hold=True) == (0, 0, 1)
    assert (await bed.state(run_id))["st"] == "running"
    assert await bed.sweep() == (1, 0, 0)


async def test_a_clock_that_was_set_back_stops_no_sweep(bed: Bed) -> None:
    await bed.renew()
    await bed.submit()
    await bed.claim()
    await bed.kill("w")
    assert await bed.sweep(silent_ms=-3_600_000) == (0, 0, 1)
    assert await bed.sweep() == (1, 0, 0)


async def test_the_first_sweep_ever_holds(bed: Bed) -> None:
    assert await bed.call("sweep") == [0, 0, 1]


async def test_a_hold_still_ends_what_is_overdue_and_wakes(bed: Bed) -> None:
    await bed.renew()
    late, waiting = await bed.submit(), await bed.submit()
    await bed.set_state(late, exp=now_ms() - 1)
    await bed.redis.delete(bed.keys.wake(POOL))
    assert await bed.sweep(silent_ms=5_000) == (0, 1, 1)
    assert await bed.queued() == [waiting]
    assert await bed.tokens() == 1


async def test_two_sweeps_at_once_are_one(bed: Bed) -> None:
    await bed.renew()
    await bed.submit()
    await bed.claim()
    await bed.kill("w")
    assert await bed.sweep(silent_ms=10) == (0, 0, 0)
    assert await bed.sweep() == (1, 0, 0)


async def crash_times(bed: Bed, run_id: str, times: int) -> None:
    for number in range(times):
        await bed.renew(f"w{number}")
        assert [run.run_id for run in await bed.claim(f"w{number}")] == [run_id]
        await bed.crash(f"w{number}")


async def test_a_run_that_crashed_two_workers_is_a_suspect(bed: Bed) -> None:
    await bed.renew("w0")
    run_id = await bed.submit()
    await crash_times(bed, run_id, 1)
    assert await bed.queued() == [run_id]
    await crash_times(bed, run_id, 1)
    assert await bed.queued() == []
    assert await bed.redis.zrange(bed.keys.suspects(POOL), 0, -1) == [run_id.encode()]
    assert await bed.tokens() == 1


async def test_a_worker_takes_one_suspect_at_a_time(bed: Bed) -> None:
    await bed.renew("w")
    suspects = [await bed.submit() for _ in range(2)]
    for run_id in suspects:
        await bed.set_state(run_id, crashes=2)
        await bed.redis.zrem(bed.keys.queue(POOL), run_id)
    await bed.redis.zadd(bed.keys.suspects(POOL), dict.fromkeys(suspects, now_ms()))
    plain = await bed.submit()
    taken = {run.run_id: run.suspect for run in await bed.claim()}
    assert len(taken) == 2 and taken[plain] is False
    assert await bed.claim(suspects=False) == []
    assert [run.suspect for run in await bed.claim()] == [True]


async def test_a_run_that_crashed_three_workers_fails_visibly(bed: Bed) -> None:
    await bed.renew("w0")
    run_id = await bed.submit()
    await crash_times(bed, run_id, 3)
    event = (await bed.events(run_id))[-1]
    assert isinstance(event, Failed) and event.code == "worker_lost"
    assert await bed.traces(run_id) == []
    assert (await bed.state(run_id))["st"] == "done"


async def test_a_run_that_waited_in_vain_tells_how_long(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.set_state(run_id, exp=now_ms() - 1, score=now_ms() - 42_000)
    assert await bed.sweep() == (0, 1, 0)
    event = (await bed.events(run_id))[-1]
    assert isinstance(event, Failed) and event.retry_after_s in (42, 43)


@pytest.mark.parametrize(("field", "code"), [("exp", "queue_timeout"), ("dl", "run_timeout")])
async def test_what_is_overdue_is_ended_wherever_it_waits(bed: Bed, field: str, code: str) -> None:
    await bed.renew()
    ids = [await bed.submit() for _ in range(2)]
    await bed.set_state(ids[1], crashes=2)
    await bed.redis.zrem(bed.keys.queue(POOL), ids[1])
    await bed.redis.zadd(bed.keys.suspects(POOL), {ids[1]: now_ms()})
    for run_id in ids:
        await bed.set_state(run_id, **{field: now_ms() - 1})
    assert await bed.sweep() == (0, 2, 0)
    for run_id in ids:
        event = (await bed.events(run_id))[-1]
        assert isinstance(event, Failed) and event.code == code
        assert await bed.traces(run_id) == []


async def test_a_queue_whose_wake_list_was_lost_gets_a_token(bed: Bed) -> None:
    await bed.renew()
    await bed.submit()
    await bed.redis.delete(bed.keys.wake(POOL))
    await bed.sweep()
    assert await bed.tokens() == 1
    await bed.sweep()
    assert await bed.tokens() == 1


async def test_an_empty_queue_gets_no_token(bed: Bed) -> None:
    await bed.renew()
    await bed.submit()
    await bed.claim()
    await bed.sweep()
    assert await bed.tokens() == 0


async def test_dead_ids_leave_the_set_of_their_principal(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(principal="p")
    await bed.redis.sadd(bed.keys.active("p"), "dead")
    await bed.sweep()
    assert await bed.redis.smembers(bed.keys.active("p")) == {run_id.encode()}


async def test_workers_that_were_not_seen_for_long_are_forgotten(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.zadd(bed.keys.workers(POOL), {"old": now_ms() - 61_000})
    await bed.sweep()
    assert await bed.redis.zrange(bed.keys.workers(POOL), 0, -1) == [b"w"]


async def test_a_run_of_a_dead_worker_that_was_ended_meanwhile_is_not_queued(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    await bed.redis.hset(bed.keys.held("ghost"), run_id, 1)
    await bed.redis.sadd(f"{PREFIX}:holders", "ghost")
    assert await bed.sweep() == (0, 0, 0)
    assert (await bed.state(run_id))["owner"] == "w"


async def test_handing_back_spends_no_attempt_and_keeps_the_place(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    score = await bed.redis.zscore(bed.keys.queue(POOL), run_id)
    for number in range(5):
        (run,) = await bed.claim()
        assert (run.attempt, run.suspect) == (number + 1, False)
        assert await bed.hand_back("w", run_id) == [run_id]
    assert await bed.redis.zscore(bed.keys.queue(POOL), run_id) == score
    assert (await bed.state(run_id)).get("crashes", "0") == "0"
    assert await bed.redis.hlen(bed.keys.held("w")) == 0
    assert await bed.tokens() == 1


async def test_only_the_owner_hands_a_run_back(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    assert await bed.hand_back("other", run_id, "unknown") == []
    assert (await bed.state(run_id))["st"] == "running"


async def test_a_run_goes_on_where_its_log_ends_however_often_it_moves(bed: Bed) -> None:
    await bed.renew("w0")
    run_id = await bed.submit()
    (run,) = await bed.claim("w0")
    await bed.append(run, 3, TextDelta("a"), TextDelta("b"))
    await bed.crash("w0")
    await bed.renew("w1")
    (run,) = await bed.claim("w1")
    assert run.last_seq == 5
    seqs = [first_seq for _, first_seq, _ in await bed.log(run_id)]
    assert seqs == [1, 2, 3, 5]
    assert (await bed.events(run_id))[-1] == Attempt(2, drop_from=3)
