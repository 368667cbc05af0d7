from itertools import chain

import pytest

from tests.contract.script_bed import HOUR_MS, POOL, Bed, now_ms
from trunkline_shared.events import Created, Finished
from trunkline_shared.run import decode_job, new_run_id


async def test_an_admitted_run_has_its_log_its_state_its_job_and_its_place(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(stream=True, reply="back")
    ((stream_id, first_seq, events),) = await bed.log(run_id)
    assert (stream_id, first_seq) == ("0-1", 1)
    assert isinstance(events[0], Created) and abs(events[0].at_ms - now_ms()) < 60_000
    assert (await bed.state(run_id))["st"] == "queued"
    assert await bed.queued() == [run_id]
    request = decode_job(run_id, await bed.redis.get(f"arq:job:{run_id}"))
    assert (request.agent, request.reply, request.stream) == ("agent", "back", True)
    for key in (bed.keys.log(run_id), bed.keys.run(run_id), bed.keys.job(run_id)):
        assert 0 < await bed.redis.pttl(key) <= HOUR_MS


async def test_the_same_run_submitted_twice_is_one_run(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(principal="p", max_concurrent=1, max_queue=1)
    assert await bed.admit(run_id, principal="p", max_concurrent=1, max_queue=1) == "ok"
    assert await bed.queued() == [run_id]
    assert len(await bed.log(run_id)) == 1


async def test_a_late_repetition_of_a_submit_does_not_queue_a_claimed_run_again(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.claim()
    assert await bed.admit(run_id) == "ok"
    assert await bed.queued() == []
    assert (await bed.state(run_id))["st"] == "running"


async def test_a_key_at_its_limit_is_told_so_before_anything_else(bed: Bed) -> None:
    await bed.renew()
    await bed.submit(principal="p")
    assert await bed.admit(principal="p", max_concurrent=1, max_queue=0) == "concurrency_limit"
    assert await bed.admit(principal="other", max_concurrent=1) == "ok"


async def test_a_finished_run_makes_room_for_the_next_of_its_key(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(principal="p", max_concurrent=1)
    assert await bed.admit(principal="p", max_concurrent=1) == "concurrency_limit"
    await bed.finish_for(run_id)
    assert await bed.admit(principal="p", max_concurrent=1) == "ok"


async def test_a_full_queue_refuses_before_missing_workers_do(bed: Bed) -> None:
    await bed.renew()
    await bed.submit(max_queue=1)
    assert await bed.admit(max_queue=1, agent="nobody's") == "queue_full"
    assert await bed.admit(max_queue=1, pool="other") == "agent_unavailable"


async def test_an_agent_without_a_live_worker_is_refused_at_once(bed: Bed) -> None:
    assert await bed.admit() == "agent_unavailable"
    await bed.renew(agents=("other",))
    assert await bed.admit() == "agent_unavailable"
    await bed.renew("w2", pools=("elsewhere",))
    assert await bed.admit() == "agent_unavailable"
    await bed.renew("w3")
    assert await bed.admit() == "ok"


@pytest.mark.parametrize(("age_ms", "code"), [(8_000, "ok"), (10_500, "agent_unavailable")])
async def test_a_worker_counts_for_ten_seconds_after_its_last_renewal(
    bed: Bed, age_ms: int, code: str
) -> None:
    await bed.renew()
    await bed.redis.zadd(bed.keys.workers(POOL), {"w": now_ms() - age_ms})
    assert await bed.admit() == code


async def test_a_worker_that_died_holding_runs_counts_no_less(bed: Bed) -> None:
    await bed.renew()
    await bed.submit()
    await bed.claim()
    await bed.crash("w")
    assert await bed.admit() == "ok"


async def test_a_refused_run_leaves_nothing_behind(bed: Bed) -> None:
    run_id = new_run_id()
    assert await bed.admit(run_id) == "agent_unavailable"
    assert [key async for key in bed.redis.scan_iter()] == []


async def test_a_refusal_carries_the_age_of_the_oldest_waiting_run(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit()
    await bed.redis.zadd(bed.keys.queue(POOL), {run_id: now_ms() - 7_000})
    code, wait_ms = await bed.ask(new_run_id(), max_queue=1)
    assert code == "queue_full" and 7_000 <= wait_ms < 60_000


async def test_a_submit_leaves_one_wake_token_however_many_wait(bed: Bed) -> None:
    await bed.renew()
    for _ in range(3):
        await bed.submit()
    assert await bed.tokens() == 1


async def test_a_run_that_was_admitted_is_not_refused_when_it_is_asked_for_again(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(conversation="c", record=b"asked")
    waiting = await bed.submit(conversation="c", record=b"asked")
    await bed.kill("w")
    await bed.redis.delete(bed.keys.workers(POOL))
    for each in (run_id, waiting):
        assert await bed.admit(each, conversation="c", record=b"asked", max_waiting=0) == "ok"
        assert len(await bed.log(each)) == 1
    assert await bed.admit() == "agent_unavailable"


async def test_a_worker_that_cannot_run_the_agent_hides_none_that_can(bed: Bed) -> None:
    await bed.renew("able")
    await bed.redis.zadd(bed.keys.workers(POOL), {"able": now_ms() - 2_000})
    await bed.renew("other", agents=("another",))
    assert await bed.admit() == "ok"


async def test_what_was_submitted_takes_two_fields_and_what_is_empty_none(bed: Bed) -> None:
    await bed.renew()
    plain = await bed.redis.hgetall(bed.keys.run(await bed.submit()))
    assert plain.keys() == {b"st", b"who", b"terms"}
    asked = await bed.submit(stream=True, reply="back", slots=2, on_lost="continue")
    state = await bed.state(asked)
    assert [state[name] for name in ("stream", "reply", "slots", "lost")] == [
        *("1", "back", "2", "continue")
    ]


async def test_names_too_long_for_one_field_have_their_own(bed: Bed) -> None:
    agent, principal = "a" * 40, "some one " * 4 + "."
    await bed.renew(agents=(agent,))
    run_id = await bed.submit(agent=agent, principal=principal)
    state = await bed.redis.hgetall(bed.keys.run(run_id))
    assert (state[b"agent"], state[b"principal"]) == (agent.encode(), principal.encode())
    (run,) = await bed.claim()
    assert await bed.finish(run, 3, Finished("stop")) == "ok"
    assert await bed.traces(run_id) == []


async def test_a_principal_may_have_spaces_in_its_name(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(principal="some one else")
    assert await bed.redis.smembers(bed.keys.active("some one else")) == {run_id.encode()}
    await bed.finish_for(run_id)
    assert await bed.traces(run_id) == []


async def test_runs_are_admitted_in_one_call_each_by_itself(bed: Bed) -> None:
    await bed.renew()
    ids = [new_run_id() for _ in range(5)]
    blocks = [
        bed.asked(ids[0], max_concurrent=2),
        bed.asked(ids[1], agent="nobody's"),
        bed.asked(ids[2], max_concurrent=2),
        bed.asked(ids[3], max_concurrent=2),
        bed.asked(ids[4], principal="other"),
    ]
    told = await bed.call("submit", "runs", 120_000, 9, *chain(*blocks))
    codes = [code for code, _ in told]
    assert codes == [b"ok", b"agent_unavailable", b"ok", b"concurrency_limit", b"ok"]
    assert set(await bed.queued()) == {ids[0], ids[2], ids[4]}
    assert await bed.tokens() == 1
    again = await bed.call("submit", "runs", 120_000, 9, *chain(*blocks))
    assert [code for code, _ in again] == codes
    assert set(await bed.queued()) == {ids[0], ids[2], ids[4]}


async def test_a_call_of_many_runs_fills_the_queue_to_its_bound(bed: Bed) -> None:
    await bed.renew()
    blocks = [bed.asked(new_run_id()) for _ in range(4)]
    told = await bed.call("submit", "runs", 120_000, 3, *chain(*blocks))
    assert [code for code, _ in told] == [b"ok"] * 3 + [b"queue_full"]
    assert len(await bed.queued()) == 3


async def test_a_call_of_many_runs_gives_the_turn_of_a_conversation_once(bed: Bed) -> None:
    await bed.renew()
    ids = [new_run_id() for _ in range(3)]
    blocks = [bed.asked(run_id, conversation="c") for run_id in ids]
    told = await bed.call("submit", "runs", 120_000, 9, *chain(*blocks))
    assert [code for code, _ in told] == [b"ok"] * 3
    assert await bed.queued() == ids[:1]
    assert await bed.redis.lrange(bed.keys.waiting("c"), 0, -1) == [
        each.encode() for each in ids[1:]
    ]


async def test_what_is_broken_for_one_run_of_a_call_is_no_other_runs(bed: Bed) -> None:
    await bed.renew()
    await bed.redis.set(bed.keys.conversation("broken"), "no hash")
    first, broken, last = [new_run_id() for _ in range(3)]
    blocks = [bed.asked(first), bed.asked(broken, conversation="broken"), bed.asked(last)]
    told = await bed.call("submit", "runs", 120_000, 9, *chain(*blocks))
    assert [told[0], told[2]] == [[b"ok", b"0"]] * 2
    assert isinstance(told[1], Exception) and "WRONGTYPE" in str(told[1])
    assert {run.run_id for run in await bed.claim()} == {first, last}
