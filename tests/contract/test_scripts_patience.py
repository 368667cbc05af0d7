"""What has waited for longer than five seconds: it is neither passed by others nor left hanging."""

import orjson
import pytest

from tests.contract.script_bed import HOUR_MS, POOL, Bed, now_ms
from trunkline_shared.events import Attempt, Failed, Step, TextDelta
from trunkline_shared.run import RunRequest, encode_job, new_run_id

LONG_MS = 6_000


async def test_a_big_run_that_waited_is_not_passed_by_small_ones(bed: Bed) -> None:
    await bed.renew()
    big, small = await bed.submit(slots=8), await bed.submit()
    await bed.redis.zadd(bed.keys.queue(POOL), {big: now_ms() - LONG_MS})
    assert await bed.claim(free=7) == []
    assert [run.run_id for run in await bed.claim(free=8)] == [big]
    assert [run.run_id for run in await bed.claim(free=1)] == [small]


async def test_a_big_run_that_this_worker_cannot_run_holds_nobody_up(bed: Bed) -> None:
    await bed.renew("other", agents=("giant",))
    await bed.renew()
    big, small = await bed.submit(agent="giant", slots=8), await bed.submit()
    await bed.redis.zadd(bed.keys.queue(POOL), {big: now_ms() - LONG_MS})
    assert [run.run_id for run in await bed.claim(free=1)] == [small]


async def test_a_stream_that_nobody_can_go_on_with_ends_with_an_error(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(stream=True)
    (run,) = await bed.claim()
    await bed.append(run, run.last_seq + 1, TextDelta("shown"))
    await bed.kill("w")
    assert await bed.sweep() == (1, 0, 0)
    assert await bed.sweep() == (0, 0, 0), "another worker still has its time to take the run"
    await bed.redis.hset(bed.keys.run(run_id), "back", now_ms() - LONG_MS)
    assert await bed.sweep() == (0, 1, 0)
    *_, last = await bed.events(run_id)
    assert isinstance(last, Failed)
    assert last.code == "worker_lost"
    assert await bed.queued() == []


async def test_a_stream_that_has_shown_nothing_waits_for_another_worker(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(stream=True)
    await bed.claim()
    await bed.kill("w")
    await bed.sweep()
    await bed.redis.hset(bed.keys.run(run_id), "back", now_ms() - LONG_MS)
    assert await bed.sweep() == (0, 0, 0)
    await bed.renew("w2")
    assert [each.run_id for each in await bed.claim("w2")] == [run_id]
    assert [e.number for e in await bed.events(run_id) if isinstance(e, Attempt)] == [1, 2]


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_run_that_waits_for_another_worker_lives_until_its_deadline_and_ends_visibly(
    bed: Bed, crashes: bool
) -> None:
    await bed.renew()
    run_id = await bed.submit(timeout_ms=2 * HOUR_MS, record=b"asked", rhooks=True)
    (run,) = await bed.claim()
    await bed.record(run, 3, b"a step", Step())
    keys = [stem(run_id) for stem in (bed.keys.run, bed.keys.log, bed.keys.job, bed.keys.journal)]
    for key in keys:
        await bed.redis.pexpire(key, LONG_MS)
    await (bed.crash("w") if crashes else bed.hand_back("w", run_id))
    assert await bed.queued() == [run_id]
    for key in keys:
        assert await bed.redis.pttl(key) > 2 * HOUR_MS
    await bed.set_state(run_id, dl=now_ms() - 1)
    assert await bed.sweep() == (0, 1, 0)
    *_, last = await bed.events(run_id)
    assert isinstance(last, Failed) and last.code == "run_timeout"
    assert await bed.redis.exists(bed.keys.result(run_id))
    assert await bed.redis.xlen(bed.keys.outbox_responses) == 1


async def test_a_stock_job_that_was_deferred_waits_for_its_time(bed: Bed) -> None:
    await bed.renew()
    deferred, submitted = new_run_id(), await bed.submit()
    job = orjson.loads(encode_job(RunRequest(deferred, "agent")))
    await bed.redis.set(bed.keys.job(deferred), orjson.dumps(job))
    await bed.redis.zadd(bed.keys.queue(POOL), {deferred: now_ms() + HOUR_MS})
    assert [run.run_id for run in await bed.claim()] == [submitted]
    assert await bed.queued() == [deferred]
    await bed.redis.zadd(bed.keys.queue(POOL), {deferred: now_ms() - 1})
    assert [run.run_id for run in await bed.claim()] == [deferred]


async def test_a_clock_that_was_set_back_defers_no_run_that_was_submitted(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.redis.zadd(bed.keys.queue(POOL), {run_id: now_ms() + HOUR_MS})
    assert [run.run_id for run in await bed.claim()] == [run_id]
