import orjson
import pytest
from arq.connections import ArqRedis

from tests.contract.script_bed import POOL, PREFIX, Bed, now_ms
from trunkline_shared.events import Attempt, Created, Failed
from trunkline_shared.run import RunRequest, decode_job, new_run_id, serialize_job


async def last_event(bed: Bed, run_id: str) -> Failed:
    event = (await bed.events(run_id))[-1]
    assert isinstance(event, Failed)
    return event


async def test_a_claim_without_a_lease_takes_nothing(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.kill("w")
    assert await bed.claim_left() == ("lost", [])
    assert await bed.queued() == [run_id]
    assert await bed.tokens() == 1


async def test_runs_are_taken_in_the_order_of_their_submission(bed: Bed) -> None:
    await bed.renew()
    ids = [await bed.submit() for _ in range(3)]
    scores = {run_id: 1_732_268_000_000 + place for place, run_id in enumerate(ids)}
    await bed.redis.zadd(bed.keys.queue(POOL), scores)
    assert [run.run_id for run in await bed.claim()] == ids


async def test_a_claimed_run_has_an_owner_an_epoch_in_ms_and_its_attempt_in_the_log(
    bed: Bed,
) -> None:
    await bed.renew()
    run_id = await bed.submit(timeout_ms=5_000, stream=True, reply="back", slots=2)
    before = int((await bed.redis.time())[0]) * 1000
    (run,) = await bed.claim()
    assert before <= run.epoch <= now_ms() + 60_000
    assert (run.last_seq, run.attempt, run.reply, run.stream, run.slots) == (2, 1, "back", True, 2)
    assert run.remaining_s is not None and 0 < run.remaining_s <= 5
    assert decode_job(run_id, run.job).agent == "agent"
    assert (await bed.log(run_id))[1] == (f"{run.epoch}-2", 2, [Attempt(1)])
    assert await bed.queued() == []
    assert await bed.redis.hkeys(bed.keys.held("w")) == [run_id.encode()]


async def test_an_epoch_is_above_the_one_before_even_when_the_clock_went_back(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    (first,) = await bed.claim()
    ahead = first.epoch + 10_000_000
    await bed.set_state(run_id, epoch=ahead)
    await bed.hand_back("w", run_id)
    (second,) = await bed.claim()
    assert second.epoch == ahead + 1


async def test_an_attempt_is_published_to_the_one_who_waits_unless_it_is_the_first(
    bed: Bed,
) -> None:
    listener = bed.redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe("back")
    await bed.renew()
    run_id = await bed.submit(reply="back")
    await bed.claim()
    await bed.hand_back("w", run_id)
    (run,) = await bed.claim()
    message = None
    while message is None:
        message = await listener.get_message(timeout=5)
    assert message["data"] == f'{run_id} {run.epoch}-3 [3,["attempt",2,null]]'.encode()
    await listener.aclose()


@pytest.mark.parametrize(
    ("queued", "workers", "free", "taken"), [(5, 1, 3, 3), (5, 1, 9, 5), (5, 2, 9, 3), (1, 3, 9, 1)]
)
async def test_a_claim_leaves_the_other_live_workers_their_share(
    bed: Bed, queued: int, workers: int, free: int, taken: int
) -> None:
    for number in range(workers):
        await bed.renew(f"w{number}")
    for _ in range(queued):
        await bed.submit()
    assert len(await bed.claim("w0", free)) == taken


async def test_dead_workers_have_no_share(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.zadd(bed.keys.workers(POOL), {"dead": now_ms() - 11_000})
    for _ in range(4):
        await bed.submit()
    assert len(await bed.claim()) == 4


async def test_a_run_that_needs_more_slots_than_are_free_is_passed_over(bed: Bed) -> None:
    await bed.renew()
    big = await bed.submit(slots=3)
    small = [await bed.submit() for _ in range(2)]
    assert {run.run_id for run in await bed.claim(free=2)} == {*small}
    assert [run.run_id for run in await bed.claim(free=3)] == [big]


async def test_taken_slots_never_exceed_those_that_are_free(bed: Bed) -> None:
    await bed.renew()
    for _ in range(4):
        await bed.submit(slots=2)
    assert sum(run.slots for run in await bed.claim(free=5)) == 4


async def test_agents_that_a_worker_cannot_run_are_left_to_others(bed: Bed) -> None:
    await bed.renew("w1", agents=("a",))
    await bed.renew("w2", agents=("b",))
    theirs, mine = await bed.submit(agent="b"), await bed.submit(agent="a")
    assert [run.run_id for run in await bed.claim("w1")] == [mine]
    assert [run.run_id for run in await bed.claim("w2")] == [theirs]


async def test_a_claim_looks_at_256_entries(bed: Bed) -> None:
    await bed.renew("w1", agents=("a",))
    await bed.renew("w2", agents=("b",))
    others = [await bed.submit(agent="b") for _ in range(256)]
    mine = await bed.submit(agent="a")
    score = now_ms() - 1_000
    await bed.redis.zadd(bed.keys.queue(POOL), dict.fromkeys(others, score))
    assert await bed.claim_left("w1") == ("1", [])
    await bed.redis.zrem(bed.keys.queue(POOL), others[0])
    assert [run.run_id for run in await bed.claim("w1")] == [mine]


async def test_a_claim_serves_all_pools_of_its_worker(bed: Bed) -> None:
    await bed.renew(pools=("x", "y"))
    ids = {await bed.submit(pool="x"), await bed.submit(pool="y")}
    assert {run.run_id for run in await bed.claim("w", 5, "x", "y")} == ids


async def test_a_claim_that_empties_the_queue_deletes_the_wake_list(bed: Bed) -> None:
    await bed.renew()
    await bed.submit()
    left, _ = await bed.claim_left()
    assert (left, await bed.tokens()) == ("0", 0)


async def test_a_claim_that_leaves_runs_behind_adds_a_token(bed: Bed) -> None:
    await bed.renew()
    for _ in range(3):
        await bed.submit()
    await bed.redis.delete(bed.keys.wake(POOL))  # the token that woke this worker
    left, runs = await bed.claim_left(free=1)
    assert (left, len(runs), await bed.tokens()) == ("1", 1, 1)
    await bed.claim_left(free=1)
    assert await bed.tokens() == 1


async def test_a_claim_that_takes_nothing_adds_no_token_so_that_nobody_spins(bed: Bed) -> None:
    await bed.renew("w1", agents=("a",))
    await bed.renew("w2", agents=("b",))
    await bed.submit(agent="b")
    await bed.redis.delete(bed.keys.wake(POOL))
    assert await bed.claim_left("w1") == ("1", [])
    assert await bed.tokens() == 0
    await bed.sweep()
    assert await bed.tokens() == 1


async def test_a_run_that_waited_too_long_is_ended_where_it_waits(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.set_state(run_id, exp=now_ms() - 1)
    assert await bed.claim() == []
    assert (await last_event(bed, run_id)).code == "queue_timeout"
    assert await bed.traces(run_id) == []


async def test_the_queue_clock_counts_only_until_the_first_claim(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    await bed.set_state(run_id, exp=now_ms() - 1)
    await bed.hand_back("w", run_id)
    assert [run.attempt for run in await bed.claim()] == [2]


async def test_the_deadline_is_set_once_and_holds_over_all_attempts(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(timeout_ms=60_000)
    await bed.claim()
    deadline = (await bed.state(run_id))["dl"]
    await bed.hand_back("w", run_id)
    await bed.claim()
    assert (await bed.state(run_id))["dl"] == deadline
    await bed.crash("w")
    await bed.set_state(run_id, dl=now_ms() - 1)
    await bed.renew()
    assert await bed.claim() == []
    assert (await last_event(bed, run_id)).code == "run_timeout"


async def test_a_cancelled_run_that_lies_in_the_queue_is_ended_not_taken(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.set_state(run_id, cancel="The client went away.")
    assert await bed.claim() == []
    assert (await last_event(bed, run_id)).code == "cancelled"


async def test_a_run_without_its_request_fails_visibly(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.redis.delete(bed.keys.job(run_id))
    assert await bed.claim() == []
    assert (await last_event(bed, run_id)).code == "run_lost"
    assert await bed.traces(run_id) == []


async def test_an_entry_of_nothing_leaves_the_queue(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.zadd(bed.keys.queue(POOL), {"nothing": 1})
    assert await bed.claim() == []
    assert await bed.queued() == []


async def test_a_stock_arq_job_is_taken_and_its_log_created(bed: Bed) -> None:
    await bed.renew()
    request = {"agent": "agent", "stream": True, "reply": "back", "principal": "p"}
    run_id = new_run_id()
    arq = ArqRedis(connection_pool=bed.redis.connection_pool, job_serializer=serialize_job)
    await arq.enqueue_job(
        "run", request=request, _job_id=run_id, _queue_name=f"{PREFIX}:queue:{POOL}"
    )
    await bed.sweep()
    assert await bed.tokens() == 1
    (run,) = await bed.claim()
    assert (run.run_id, run.stream, run.reply, run.last_seq) == (run_id, True, "back", 2)
    asked = decode_job(run_id, run.job)
    assert isinstance(asked, RunRequest) and asked.run_id == run_id and asked.agent == "agent"
    created, attempt = await bed.events(run_id)
    assert isinstance(created, Created) and attempt == Attempt(1)
    assert await bed.finish(run, 3, Failed("server_error", "x"), outcome="failed") == "ok"
    assert await bed.traces(run_id) == []


@pytest.mark.parametrize(
    "job",
    [
        b"\x80\x04pickle",
        b"[]",
        b"null",
        b'{"k":{"request":[]}}',
        b'{"k":{"request":null}}',
        b'{"k":{"request":{"agent":7}}}',
        b'{"k":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
async def test_a_job_that_is_no_request_stops_no_claim(bed: Bed, job: bytes) -> None:
    await bed.renew()
    odd = new_run_id()
    await bed.redis.set(bed.keys.job(odd), job)
    await bed.redis.zadd(bed.keys.queue(POOL), {odd: 1})
    run_id = await bed.submit()
    assert [run.run_id for run in await bed.claim()] == [run_id]
    assert await bed.queued() == []


@pytest.mark.parametrize("odd", ["job-1", "with space", f"a{7:027x}0", "é" * 14])
async def test_a_job_whose_id_is_no_run_id_is_not_taken(bed: Bed, odd: str) -> None:
    await bed.renew()
    job = serialize_job({"t": None, "f": "run", "a": (), "k": {"request": {"agent": "agent"}}})
    await bed.redis.set(bed.keys.job(odd), job)
    await bed.redis.zadd(bed.keys.queue(POOL), {odd: 1})
    assert await bed.claim() == []
    assert await bed.queued() == []
    assert not await bed.redis.exists(bed.keys.run(odd), bed.keys.log(odd))


async def test_a_job_under_the_id_of_a_known_log_stops_no_claim(bed: Bed) -> None:
    await bed.renew()
    first = await bed.submit()
    await bed.redis.delete(bed.keys.run(first))
    second = await bed.submit()
    claimed = [run.run_id for run in await bed.claim()]
    assert second in claimed
    assert await bed.queued() == []


async def test_arq_scores_cross_whole(bed: Bed) -> None:
    await bed.renew()
    job = serialize_job({"t": None, "f": "run", "a": (), "k": {"request": {"agent": "agent"}}})
    run_id = new_run_id()
    await bed.redis.set(bed.keys.job(run_id), job)
    await bed.redis.zadd(bed.keys.queue(POOL), {run_id: 1_732_268_000_123})
    await bed.claim()
    assert (await bed.events(run_id))[0] == Created(1_732_268_000_123)
    assert orjson.loads(job)["v"] == 1
