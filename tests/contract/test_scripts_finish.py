import pytest

from tests.contract.script_bed import Bed
from trunkline_shared.events import Failed, Finished, TextDelta
from trunkline_shared.frame import encode_frame
from trunkline_shared.settings import CommonSettings
from trunkline_worker.execute import Claimed

KEPT_MS = int(CommonSettings().log_kept_s * 1000)


@pytest.fixture
async def run(bed: Bed) -> Claimed:
    await bed.renew()
    await bed.submit()
    (run,) = await bed.claim()
    return run


async def test_an_end_is_in_the_log_once_and_the_second_is_told_that_it_was(
    bed: Bed, run: Claimed
) -> None:
    assert await bed.finish(run, 3, TextDelta("a"), Finished("stop")) == "ok"
    assert await bed.finish(run, 3, TextDelta("a"), Finished("stop")) == "done"
    assert await bed.finish_for(run.run_id) == "done"
    assert len(await bed.events(run.run_id)) == 4
    assert (await bed.state(run.run_id))["out"] == "finished"


async def test_an_ended_run_is_nowhere_and_its_log_lives_on_for_a_while(
    bed: Bed, run: Claimed
) -> None:
    await bed.cancel(run.run_id)
    await bed.finish(run, 3, Finished("stop"))
    assert await bed.traces(run.run_id) == []
    assert not await bed.redis.exists(bed.keys.job(run.run_id))
    for key in (bed.keys.log(run.run_id), bed.keys.run(run.run_id)):
        assert 0 < await bed.redis.pttl(key) <= KEPT_MS


async def test_an_end_published_is_what_the_reader_gets(bed: Bed) -> None:
    listener = bed.redis.pubsub(ignore_subscribe_messages=True)
    await bed.renew()
    run_id = await bed.submit(reply="back")
    (run,) = await bed.claim()
    await listener.subscribe("back")
    await bed.finish(run, 3, Failed("cancelled", "x"), outcome="cancelled")
    message = None
    while message is None:
        message = await listener.get_message(timeout=5)
    await listener.aclose()
    assert message["data"].startswith(f'{run_id} {run.epoch}-3 [3,["failed",'.encode())


async def test_an_end_that_would_leave_a_hole_ends_nothing(bed: Bed, run: Claimed) -> None:
    assert await bed.finish(run, 5, Finished("stop")) == "early"
    assert (await bed.state(run.run_id))["st"] == "running"


async def test_the_end_of_a_run_whose_log_is_gone_frees_everything(bed: Bed, run: Claimed) -> None:
    await bed.redis.delete(bed.keys.log(run.run_id))
    assert await bed.finish(run, 3, Finished("stop")) == "ok"
    assert await bed.traces(run.run_id) == []


async def test_a_run_whose_state_is_gone_has_no_end(bed: Bed, run: Claimed) -> None:
    await bed.redis.delete(bed.keys.run(run.run_id))
    assert await bed.finish(run, 3, Finished("stop")) == "gone"
    assert await bed.finish_for("never") == "gone"


async def test_someone_else_ends_a_run_under_a_higher_epoch(bed: Bed, run: Claimed) -> None:
    await bed.append(run, 3, TextDelta("a"))
    assert await bed.finish_for(run.run_id, "worker_lost") == "ok"
    stream_id, first_seq, (event,) = (await bed.log(run.run_id))[-1]
    epoch, seq = map(int, stream_id.split("-"))
    assert epoch > run.epoch and (seq, first_seq) == (4, 4)
    assert isinstance(event, Failed) and event.code == "worker_lost"
    assert await bed.traces(run.run_id) == []


async def test_someone_else_ends_a_waiting_run(bed: Bed, run: Claimed) -> None:
    waiting = await bed.submit()
    assert await bed.finish_for(waiting) == "ok"
    assert await bed.queued() == []
    assert await bed.traces(waiting) == []


async def test_a_suspect_that_ends_leaves_the_suspects(bed: Bed, run: Claimed) -> None:
    for worker in ("w", "w2"):
        await bed.crash(worker)
        if worker == "w":
            await bed.renew("w2")
            await bed.claim("w2")
    assert await bed.redis.zcard(bed.keys.suspects("default")) == 1
    assert await bed.finish_for(run.run_id) == "ok"
    assert await bed.traces(run.run_id) == []


async def test_an_end_that_crosses_a_hand_back_still_ends_the_run(bed: Bed, run: Claimed) -> None:
    await bed.hand_back("w", run.run_id)
    assert await bed.finish(run, 3, Finished("stop")) == "ok"
    assert await bed.queued() == []
    assert await bed.traces(run.run_id) == []


async def test_an_end_that_surely_follows_needs_no_look_and_is_fenced_all_the_same(
    bed: Bed, run: Claimed
) -> None:
    assert await bed.call("finish", *end(run, run.epoch - 1)) == [b"fenced"]
    assert await bed.call("finish", *end(run, run.epoch)) == b"ok"
    assert await bed.call("finish", *end(run, run.epoch)) == [b"done"]
    assert len(await bed.events(run.run_id)) == 3


def end(run: Claimed, epoch: int) -> tuple[str | bytes | int, ...]:
    frame = encode_frame(3, [Finished("stop")])
    return (run.run_id, f"{epoch}-3", frame, "finished", b"", b"", 1)


async def test_runs_end_in_one_call_each_by_itself_and_a_reader_hears_of_them_at_once(
    bed: Bed, run: Claimed
) -> None:
    ids = [await bed.submit(reply=reply) for reply in ("back", "back", "other")]
    claimed = {each.run_id: each for each in await bed.claim()}
    first, second, other = [claimed[run_id] for run_id in ids]
    listener = bed.redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe("back")
    ends = [*end(first, first.epoch), *end(run, run.epoch - 1)]
    ends += [*end(second, second.epoch), *end(other, other.epoch)]
    assert await bed.call("finish", *ends) == [b"ok", b"fenced", b"ok", b"ok"]
    message = None
    while message is None:
        message = await listener.get_message(timeout=5)
    await listener.aclose()
    lines = message["data"].split(b"\n")
    assert [line.split(b" ")[0].decode() for line in lines] == ids[:2]
    assert all(line.endswith(encode_frame(3, [Finished("stop")])) for line in lines)
    assert await bed.traces(first.run_id) == await bed.traces(other.run_id) == []
    assert len(await bed.events(run.run_id)) == 2


async def test_what_is_broken_for_one_end_of_a_call_is_no_other_runs(bed: Bed) -> None:
    await bed.renew()
    await bed.submit(conversation="c")
    broken = (await bed.claim())[0]
    await bed.submit(reply="back")
    fine = (await bed.claim())[0]
    await bed.redis.set(bed.keys.turns("c"), "no list")
    ends = [*end(broken, broken.epoch), *end(fine, fine.epoch)]
    ends[5] = b"turn"
    told = await bed.call("finish", *ends)
    assert told[0].startswith(b"refused ") and b"WRONGTYPE" in told[0]
    assert told[1] == b"ok"
    assert (await bed.state(fine.run_id))["out"] == "finished"
