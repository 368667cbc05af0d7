"""What webhooks are to hear of: an entry for each response that ended, whoever ended it."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from tests.contract.script_bed import Bed, now_ms
from trunkline_shared.events import Failed, Finished

End: TypeAlias = Callable[[Bed, str], Awaitable[None]]


async def told(bed: Bed) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await bed.redis.xrange(bed.keys.outbox_responses)]


async def by_its_owner(bed: Bed, run_id: str) -> None:
    (run,) = await bed.claim()
    for _ in range(2):
        await bed.finish(run, 3, Finished("stop"), result=b"{}")


async def by_its_owner_with_a_failure(bed: Bed, run_id: str) -> None:
    (run,) = await bed.claim()
    await bed.finish(run, 3, Failed("server_error", "It broke."), outcome="failed")


async def by_somebody_else(bed: Bed, run_id: str) -> None:
    await bed.claim()
    await bed.finish_for(run_id)


async def by_a_cancel_in_its_queue(bed: Bed, run_id: str) -> None:
    for _ in range(2):
        await bed.cancel(run_id)


async def by_the_sweep(bed: Bed, run_id: str) -> None:
    await bed.set_state(run_id, exp=now_ms() - 1)
    await bed.sweep()


async def by_the_sweep_after_its_cancel_on_a_dead_worker(bed: Bed, run_id: str) -> None:
    await bed.claim()
    assert await bed.cancel(run_id) == "told"
    await bed.crash("w")


async def by_a_claim(bed: Bed, run_id: str) -> None:
    await bed.redis.delete(bed.keys.job(run_id))
    assert await bed.claim() == []


@pytest.mark.parametrize(
    "end",
    [
        by_its_owner,
        by_its_owner_with_a_failure,
        by_somebody_else,
        by_a_cancel_in_its_queue,
        by_the_sweep,
        by_the_sweep_after_its_cancel_on_a_dead_worker,
        by_a_claim,
    ],
)
async def test_webhooks_hear_once_of_a_response_that_is_ended(bed: Bed, end: End) -> None:
    await bed.renew()
    run_id = await bed.submit(record=b"asked", rhooks=True)
    await end(bed, run_id)
    assert (await bed.state(run_id))["st"] == "done"
    assert await told(bed) == [{b"r": run_id.encode()}]
    assert await bed.redis.exists(bed.keys.result(run_id))
    assert await bed.redis.pttl(bed.keys.outbox_responses) > 0


async def test_a_turn_may_be_told_as_both(bed: Bed) -> None:
    await bed.renew()
    run_id = await bed.submit(conversation="c", hooks=True, record=b"asked", rhooks=True)
    await bed.cancel(run_id)
    assert await told(bed) == [{b"r": run_id.encode()}]
    assert await bed.redis.xlen(bed.keys.outbox) == 0  # it never began its turn
    again = await bed.submit(conversation="c", hooks=True, record=b"asked", rhooks=True)
    (run,) = await bed.claim()
    await bed.finish(run, 3, Finished("stop"), result=b"{}", turn=b"{}")
    assert (await told(bed))[1:] == [{b"r": again.encode()}]
    ((_, fields),) = await bed.redis.xrange(bed.keys.outbox)
    assert fields == {b"c": b"c", b"r": again.encode()}


async def test_of_other_runs_they_hear_nothing(bed: Bed) -> None:
    await bed.renew()
    await bed.cancel(await bed.submit(record=b"asked"))
    assert await told(bed) == []
