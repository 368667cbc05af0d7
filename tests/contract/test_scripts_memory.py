"""What a run takes of Redis' memory; and what still works when there is none left.

A Redis without memory refuses what makes it grow; what ends a run must work all the same.
"""

from collections.abc import AsyncIterator, Iterator

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.contract.script_bed import Bed, now_ms
from tests.fakes.redis_server import RedisServer
from trunkline_shared.events import Failed, Finished, Step, TextDelta
from trunkline_shared.run import new_run_id

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def bed(server: RedisServer) -> AsyncIterator[Bed]:
    server.flush()
    bed = Bed(Redis.from_url(server.url))
    await bed.load()
    await bed.renew()
    yield bed
    await bed.redis.config_set("maxmemory", 0)
    await bed.redis.aclose()


async def fill(bed: Bed) -> None:
    await bed.redis.config_set("maxmemory", 1)


async def test_frames_wait_until_there_is_room(bed: Bed) -> None:
    await bed.submit()
    (run,) = await bed.claim()
    await fill(bed)
    assert await bed.append(run, 3, TextDelta("a")) == "full"
    await bed.redis.config_set("maxmemory", 0)
    assert await bed.append(run, 3, TextDelta("a")) == "added"


async def test_an_entry_of_the_journal_waits_with_its_frame(bed: Bed) -> None:
    await bed.submit()
    (run,) = await bed.claim()
    await fill(bed)
    assert await bed.record(run, 3, b"one", Step()) == "full"
    assert await bed.journal(run.run_id) == []
    await bed.redis.config_set("maxmemory", 0)
    assert await bed.record(run, 3, b"one", Step()) == "added"
    assert await bed.journal(run.run_id) == [b"one"]


async def test_the_end_of_a_run_finds_room_because_it_makes_some(bed: Bed) -> None:
    run_id = await bed.submit()
    (run,) = await bed.claim()
    await fill(bed)
    assert await bed.finish(run, 3, Finished("stop")) == "ok"
    assert await bed.traces(run_id) == []


async def test_so_does_the_end_of_one_whose_log_is_gone(bed: Bed) -> None:
    run_id = await bed.submit(record=b"asked")
    (run,) = await bed.claim()
    await bed.redis.delete(bed.keys.log(run_id))
    await fill(bed)
    assert await bed.finish(run, 3, Finished("stop"), result=b"{}") == "ok"
    assert await bed.redis.get(bed.keys.result(run_id)) == b"{}"


async def test_somebody_else_can_end_a_run(bed: Bed) -> None:
    run_id = await bed.submit()
    await bed.claim()
    await fill(bed)
    assert await bed.finish_for(run_id) == "ok"
    assert isinstance((await bed.events(run_id))[-1], Failed)


async def test_a_lease_is_renewed_and_recovered(bed: Bed) -> None:
    await fill(bed)
    assert (await bed.renew(mode="renew", known=0))[0] == b"ok"
    assert (await bed.renew(mode="recover"))[0] == b"ok"
    await bed.kill("w")
    assert (await bed.renew(mode="recover"))[0] == b"ok"
    assert await bed.redis.exists(bed.keys.lease("w"))


async def test_runs_are_cancelled_whether_they_wait_or_run(bed: Bed) -> None:
    running = await bed.submit()
    await bed.claim()
    waiting = await bed.submit()
    await fill(bed)
    assert await bed.cancel(running) == "told"
    assert await bed.cancel(waiting) == "cancelled"


async def test_the_sweep_still_takes_back_and_ends(bed: Bed) -> None:
    lost = await bed.submit()
    await bed.claim()
    late = await bed.submit()
    await bed.set_state(late, exp=now_ms() - 1)
    await bed.sweep()
    await bed.kill("w")
    await bed.redis.set("contract:sweep:last", now_ms() - 500)
    await fill(bed)
    assert await bed.call("sweep") == [1, 0, 0]
    assert await bed.queued() == [lost]


async def test_a_submit_is_refused_and_leaves_nothing(bed: Bed) -> None:
    await fill(bed)
    run_id = new_run_id()
    with pytest.raises(ResponseError, match="maxmemory"):
        await bed.submit(run_id)
    assert await bed.traces(run_id) == []
    assert not await bed.redis.exists(bed.keys.log(run_id))


async def test_a_run_gets_a_further_reader(bed: Bed) -> None:
    run_id = await bed.submit()
    await bed.claim()
    await fill(bed)
    assert await bed.call("submit", "read", run_id) == [b"ok", 1]
    assert (await bed.state(run_id))["read"] == "1"


async def test_runs_are_claimed_and_handed_back(bed: Bed) -> None:
    run_id = await bed.submit()
    await fill(bed)
    assert [run.run_id for run in await bed.claim()] == [run_id]
    assert await bed.hand_back("w", run_id) == [run_id]


async def test_a_turn_of_a_stored_run_ends_and_the_next_is_called(bed: Bed) -> None:
    first, second, third = [
        await bed.submit(conversation="c", record=b"asked", hooks=True, rhooks=True)
        for _ in range(3)
    ]
    (run,) = await bed.claim()
    await fill(bed)
    assert await bed.cancel(third) == "cancelled"
    assert await bed.finish(run, 3, Finished("stop"), result=b"{}", turn=b"{}") == "ok"
    assert await bed.redis.get(bed.keys.result(first)) == b"{}"
    assert await bed.redis.xlen(bed.keys.outbox_responses) == 2
    assert await bed.redis.lrange(bed.keys.turns("c"), 0, -1) == [b"{}"]
    assert await bed.queued() == [second]
    assert await bed.call("cancel", "c", "Gone.", "delete", "someone") == [b"ok"]
    listed = [bed.keys.responses("someone")]
    assert await bed.traces(second) == listed and await bed.traces(third) == listed
    assert not await bed.redis.exists(bed.keys.conversation("c"), bed.keys.turns("c"))


async def test_a_refused_run_leaves_no_conversation_behind(bed: Bed) -> None:
    run_id = new_run_id()
    await fill(bed)
    with pytest.raises(ResponseError):
        await bed.submit(run_id, conversation="c", record=b"asked")
    assert not await bed.redis.exists(bed.keys.conversation("c"), bed.keys.record(run_id))


async def test_waiting_runs_end_on_time(bed: Bed) -> None:
    await bed.submit(conversation="c")
    late = await bed.submit(conversation="c", wait_ms=0)
    await fill(bed)
    await bed.redis.delete("contract:sweep:last")
    assert (await bed.call("sweep"))[1] == 1
    assert isinstance((await bed.events(late))[-1], Failed)


@pytest.mark.parametrize(("at_once", "most_kib"), [(16, 12), (1, 30)])
async def test_a_run_of_500_tokens_takes_little_memory(
    bed: Bed, at_once: int, most_kib: int
) -> None:
    run_id = await bed.submit(stream=True, reply="trunkline:reply:" + "0" * 32)
    (run,) = await bed.claim()
    for first in range(3, 503, at_once):
        kind, last = "T" if at_once > 1 else "t", first + at_once - 1
        frame = orjson.dumps([first, [kind, *(f" {seq:05}" for seq in range(first, last + 1))]])
        await bed.call("append", "", "1", run_id, f"{run.epoch}-{last}", frame)
    keys = (bed.keys.log(run_id), bed.keys.run(run_id), bed.keys.job(run_id))
    assert sum([await bed.redis.memory_usage(key) for key in keys]) <= most_kib * 1024


async def test_the_state_of_a_run_keeps_its_compact_form(bed: Bed) -> None:
    asked = {"reply": "trunkline:reply:" + "0" * 32, "stream": True, "slots": 2, "hooks": True}
    asked["named"] = ("idem", "someone:" + "0" * 64, "idem_body", "0" * 64, "idem_ms", 86_400_000)
    run_id = await bed.submit(conversation="c" * 64, record=b"asked", on_lost="continue", **asked)
    (run,) = await bed.claim()
    await bed.crash("w")
    await bed.renew("w2")
    await bed.claim("w2")
    await bed.cancel(run.run_id)
    form = await bed.redis.execute_command("OBJECT", "ENCODING", bed.keys.run(run_id))
    assert form in (b"listpack", b"ziplist")
