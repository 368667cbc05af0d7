"""A run under an Idempotency-Key: whoever submits it again is told of it, until it is forgotten."""

from typing import Any

import pytest

from tests.contract.script_bed import HOUR_MS, Bed
from trunkline_shared.events import Failed, Finished, TextDelta
from trunkline_shared.run import new_run_id

KEPT_MS = 50_000
NAME = "someone:key"
RETENTION_MS = 30 * 86_400_000


async def ask(bed: Bed, run_id: str = "", *, digest: str = "d", **wanted: Any) -> list[str]:
    """What `submit` answers to a request under the key."""
    named = ("idem", NAME, "idem_body", digest, "idem_ms", KEPT_MS)
    answer = await bed.answer(run_id or new_run_id(), named=named, **wanted)
    return [each.decode() for each in answer]


async def begin(bed: Bed, **wanted: Any) -> str:
    run_id = new_run_id()
    assert await ask(bed, run_id, **wanted) == ["ok", "0"]
    return run_id


async def kept_ms(bed: Bed) -> int:
    """How long the key lives still; -2 without it."""
    return int(await bed.redis.pttl(bed.keys.idem(NAME)))


async def result_ms(bed: Bed, run_id: str) -> int:
    return int(await bed.redis.pttl(bed.keys.result(run_id)))


async def test_the_same_asked_again_is_told_of_the_same_run(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    assert await ask(bed) == ["same", f"{run_id} d "]
    assert await bed.queued() == [run_id]
    (run,) = await bed.claim()
    assert await ask(bed) == ["same", f"{run_id} d "]
    await bed.finish(run, 3, Finished("stop"), result=b"R")
    await bed.redis.delete(bed.keys.log(run_id), bed.keys.run(run_id))
    assert await ask(bed) == ["same", f"{run_id} d "]
    assert await bed.queued() == []


async def test_another_request_under_the_key_is_refused(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    assert await ask(bed, digest="e") == ["reused", "0"]
    assert await bed.queued() == [run_id]


async def test_a_submit_whose_answer_was_lost_is_not_taken_for_anothers(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    assert await ask(bed, run_id) == ["ok", "0"]
    await bed.claim()
    assert await ask(bed, run_id) == ["ok", "0"]
    assert await bed.queued() == []


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_concurrent": 1}, "concurrency_limit"),
        ({"max_queue": 1}, "queue_full"),
        ({"agent": "nobody's"}, "agent_unavailable"),
        ({"conversation": "c", "unknown": "refuse"}, "conversation_not_found"),
    ],
)
async def test_what_is_refused_leaves_no_key_behind(
    bed: Bed, limits: dict[str, Any], code: str
) -> None:
    await bed.renew()
    await bed.submit()
    assert (await ask(bed, **limits))[0] == code
    assert await kept_ms(bed) == -2


async def test_who_asks_again_is_not_admitted_again(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    again = await ask(bed, max_concurrent=1, max_queue=1, agent="nobody's")
    assert again == ["same", f"{run_id} d "]


async def test_a_key_names_the_conversation_and_takes_one_turn_of_it(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed, conversation="c")
    assert await ask(bed, conversation="other") == ["same", f"{run_id} d c"]
    assert await bed.redis.llen(bed.keys.waiting("c")) == 0
    assert not await bed.redis.exists(bed.keys.conversation("other"))


async def test_the_key_outlives_its_run_and_is_kept_from_its_end_on(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed, timeout_ms=700_000)
    assert HOUR_MS + 700_000 < await kept_ms(bed) <= HOUR_MS + 700_000 + KEPT_MS
    (run,) = await bed.claim()
    await bed.finish(run, 3, TextDelta("a"), Finished("stop"), result=b"R")
    assert await bed.redis.get(bed.keys.result(run_id)) == b"R"
    assert 0 < await kept_ms(bed) <= KEPT_MS
    assert 0 < await result_ms(bed, run_id) <= KEPT_MS


async def test_what_is_stored_anyway_is_kept_the_longer_time(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed, record=b"sealed")
    (run,) = await bed.claim()
    await bed.finish(run, 3, Finished("stop"), result=b"R")
    assert KEPT_MS < await result_ms(bed, run_id) <= RETENTION_MS


async def test_a_deleted_response_leaves_no_result_for_its_key(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed, record=b"sealed")
    (run,) = await bed.claim()
    await bed.redis.delete(bed.keys.record(run_id))
    await bed.finish(run, 3, Finished("stop"), result=b"R")
    assert await result_ms(bed, run_id) == -2


async def test_a_failure_is_what_the_run_came_to(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    (run,) = await bed.claim()
    await bed.finish(run, 3, Failed("upstream_error", "It broke."), outcome="failed")
    stored = await bed.redis.get(bed.keys.result(run_id))
    assert b"upstream_error" in stored
    assert (await ask(bed))[0] == "same"


async def test_so_is_an_end_from_outside(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    await bed.claim()
    await bed.finish_for(run_id)
    assert b"cancelled" in await bed.redis.get(bed.keys.result(run_id))
    assert (await ask(bed))[0] == "same"


async def test_a_run_that_nobody_began_frees_its_key(bed: Bed) -> None:
    await bed.renew()
    for wanted in ({}, {"record": b"sealed", "lists": "0" * 32}):
        cancelled = await begin(bed, **wanted)
        assert await bed.cancel(cancelled) == "cancelled"
        assert await result_ms(bed, cancelled) == -2
    late = await begin(bed)
    await bed.set_state(late, exp=1)
    await bed.sweep()
    assert (await bed.state(late))["out"] == "failed"
    assert (await ask(bed))[0] == "ok"


@pytest.mark.parametrize("is_begun", [True, False])
async def test_of_a_stored_completion_that_failed_only_its_key_knows(
    bed: Bed, is_begun: bool
) -> None:
    await bed.renew()
    run_id = await begin(bed, record=b"sealed", lists="0" * 32)
    if is_begun:
        await bed.claim()
        await bed.finish_for(run_id)
        assert 0 < await result_ms(bed, run_id) <= KEPT_MS
    else:
        await bed.cancel(run_id)
        assert await result_ms(bed, run_id) == -2
    assert not await bed.redis.exists(bed.keys.record(run_id), bed.keys.completions("someone"))


async def test_a_run_that_crashed_and_was_cancelled_in_its_queue_keeps_its_key(bed: Bed) -> None:
    await bed.renew()
    run_id = await begin(bed)
    await bed.claim()
    await bed.crash("w")
    assert await bed.cancel(run_id) == "cancelled"
    assert (await ask(bed))[0] == "same"


async def test_a_key_that_another_run_has_by_now_is_left_alone(bed: Bed) -> None:
    await bed.renew()
    first = await begin(bed)
    await bed.redis.delete(bed.keys.idem(NAME))
    second = await begin(bed)
    await bed.cancel(first)
    assert await ask(bed) == ["same", f"{second} d "]
