"""What `submit` and the ends of runs keep of stored responses and completions, and list."""

import pytest

from tests.contract.script_bed import HOUR_MS, PREFIX, Bed, now_ms
from trunkline_shared.events import Finished
from trunkline_shared.run import new_run_id
from trunkline_shared.settings import CommonSettings

pytestmark = pytest.mark.redis
MARKS = ("0" * 32, "1" * 32)


@pytest.fixture(autouse=True)
async def _worker(bed: Bed) -> None:
    await bed.renew()


async def listed(bed: Bed, *keys: str) -> list[list[str]]:
    return [[id.decode() for id in await bed.redis.zrange(key, 0, -1)] for key in keys]


def lists(bed: Bed) -> list[str]:
    return [bed.keys.completions("someone"), *map(bed.keys.listed, MARKS)]


async def test_a_completion_is_in_all_of_its_lists_and_stays_when_it_ends_well(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked", lists=" ".join(MARKS))
    assert await listed(bed, *lists(bed)) == [[run_id]] * 3
    (run,) = await bed.claim()
    assert await bed.finish(run, 3, Finished("stop"), result=b"{}") == "ok"
    assert await listed(bed, *lists(bed)) == [[run_id]] * 3
    assert await bed.redis.get(bed.keys.result(run_id)) == b"{}"
    assert await listed(bed, bed.keys.responses("someone")) == [[]]


async def test_a_response_is_in_its_principals_list_however_it_ends(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked")
    await bed.cancel(run_id)
    assert await listed(bed, bed.keys.responses("someone"), *lists(bed)) == [[run_id], [], [], []]
    assert await bed.redis.exists(bed.keys.record(run_id), bed.keys.result(run_id)) == 2


async def test_what_is_not_stored_is_in_no_list(bed: Bed) -> None:
    await bed.submit()
    assert await listed(bed, bed.keys.responses("someone"), *lists(bed)) == [[], [], [], []]


@pytest.mark.parametrize("is_begun", [True, False])
async def test_nothing_is_left_of_a_completion_that_was_cancelled(bed: Bed, is_begun: bool) -> None:
    run_id = await bed.submit(record=b"asked", lists=" ".join(MARKS))
    if is_begun:
        await bed.claim()
        assert await bed.finish_for(run_id) == "ok"
    else:
        assert await bed.cancel(run_id) == "cancelled"
    assert await bed.traces(run_id) == []
    assert not await bed.redis.exists(bed.keys.record(run_id), bed.keys.result(run_id))


async def test_nothing_is_left_of_a_completion_that_failed(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked", lists=" ".join(MARKS))
    (run,) = await bed.claim()
    end = Finished("stop")  # what the script goes by is the outcome
    assert await bed.finish(run, 3, end, outcome="failed", result=b"{}") == "ok"
    assert await bed.traces(run_id) == []
    assert not await bed.redis.exists(bed.keys.record(run_id), bed.keys.result(run_id))


async def test_each_kind_is_kept_for_its_own_time(bed: Bed) -> None:
    bed.set(
        CommonSettings(
            prefix=PREFIX,
            retention_s=4 * 3600,
            responses_retention_s=3600,
            completions_retention_s=2 * 3600,
        )
    )
    await bed.load()
    response = await bed.submit(record=b"asked", conversation="c")
    completion = await bed.submit(record=b"asked", lists=MARKS[0])
    for run in await bed.claim():
        assert await bed.finish(run, 3, Finished("stop"), result=b"{}", turn=b"{}") == "ok"
    keys = bed.keys
    hours = {
        1: [keys.record(response), keys.result(response), keys.responses("someone")],
        2: [keys.record(completion), keys.result(completion), *lists(bed)[:2]],
        4: [keys.conversation("c"), keys.turns("c"), keys.conversations("someone")],
    }
    for count, kept in hours.items():
        for key in kept:
            left_ms = await bed.redis.pttl(key)
            assert (count - 1) * HOUR_MS < left_ms <= count * HOUR_MS, key


async def test_lists_are_in_the_order_of_their_runs_and_lose_what_is_over(bed: Bed) -> None:
    day_ms = 24 * HOUR_MS
    over, last, first = (new_run_id(now_ms() - days * day_ms) for days in (31, 28, 29))
    for run_id in (last, over, first):
        await bed.submit(run_id, record=b"asked", lists=MARKS[0])
    newest = await bed.submit(record=b"asked", lists=MARKS[0])
    assert await listed(bed, *lists(bed)[:2]) == [[first, last, newest]] * 2
