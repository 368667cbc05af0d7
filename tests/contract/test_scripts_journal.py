"""A run's journal: an entry is there when its frame is, once, and as long as the run needs it."""

from collections.abc import Awaitable, Callable

import pytest

from tests.contract.script_bed import Bed, now_ms
from trunkline_shared.events import Failed, Finished, Step, TextDelta
from trunkline_shared.frame import encode_frame
from trunkline_worker.execute import Claimed


@pytest.fixture
async def run(bed: Bed) -> Claimed:
    await bed.renew()
    await bed.submit()
    (run,) = await bed.claim()
    return run


async def test_an_entry_lands_with_its_frame_and_once(bed: Bed, run: Claimed) -> None:
    assert await bed.record(run, 3, b"one", TextDelta("a"), Step()) == "added"
    assert await bed.record(run, 3, b"one", TextDelta("a"), Step()) == "known"
    assert await bed.append(run, 5, TextDelta("b")) == "added"
    assert await bed.record(run, 6, b"two", Step()) == "added"
    assert await bed.record(run, 3, b"one", TextDelta("a"), Step()) == "known"
    assert await bed.journal(run.run_id) == [b"one", b"two"]
    assert (await bed.events(run.run_id))[2:] == [TextDelta("a"), Step(), TextDelta("b"), Step()]


async def test_a_frame_that_is_not_added_brings_no_entry(bed: Bed, run: Claimed) -> None:
    assert await bed.record(run, 9, b"of a hole", Step()) == "early"
    assert await bed.record(run, 2, b"of another cut", Step(), Step()) == "refused"
    await bed.crash("w")
    await bed.renew("w2")
    (later,) = await bed.claim("w2")
    assert await bed.record(run, 3, b"of old", Step()) == "fenced"
    await bed.redis.delete(bed.keys.log(run.run_id))
    assert await bed.record(later, later.last_seq + 1, b"of no log", Step()) == "gone"
    assert await bed.journal(run.run_id) == []


async def test_entries_and_plain_frames_share_a_call(bed: Bed, run: Claimed) -> None:
    frames: list[str | bytes] = []
    for seq, entry in ((3, b""), (4, b"one"), (5, b""), (6, b"two"), (7, b"")):
        event = Step() if entry else TextDelta("x")
        frames += [run.run_id, f"{run.epoch}-{seq}", encode_frame(seq, [event])]
        frames += [entry] if entry else []
    other = await bed.submit()
    (second,) = await bed.claim()
    more = [other, f"{second.epoch}-3", encode_frame(3, [Step()]), b"other"]
    assert await bed.call("append", "", "12020", *frames, "back", "2", *more) == b"added"
    assert await bed.journal(run.run_id) == [b"one", b"two"]
    assert await bed.journal(other) == [b"other"]


async def test_a_journal_lives_as_long_as_the_state_of_its_run(bed: Bed, run: Claimed) -> None:
    await bed.record(run, 3, b"one", Step())
    life_ms = await bed.redis.pttl(bed.keys.journal(run.run_id))
    assert life_ms == pytest.approx(await bed.redis.pttl(bed.keys.run(run.run_id)), abs=5000)


async def test_a_run_that_goes_back_keeps_its_journal(bed: Bed, run: Claimed) -> None:
    await bed.record(run, 3, b"one", Step())
    await bed.hand_back("w", run.run_id)
    (second,) = await bed.claim()
    await bed.crash("w")
    await bed.renew("w2")
    (third,) = await bed.claim("w2")
    assert [second.attempt, third.attempt] == [2, 3]
    assert await bed.journal(run.run_id) == [b"one"]
    assert await bed.record(third, third.last_seq + 1, b"two", Step()) == "added"
    assert await bed.journal(run.run_id) == [b"one", b"two"]


async def by_its_owner(bed: Bed, run: Claimed) -> None:
    assert await bed.finish(run, 4, Finished("stop")) == "ok"


async def by_another(bed: Bed, run: Claimed) -> None:
    assert await bed.finish_for(run.run_id) == "ok"


async def by_a_cancel_while_it_waits(bed: Bed, run: Claimed) -> None:
    await bed.crash("w")
    assert await bed.cancel(run.run_id) == "cancelled"


async def by_a_sweep(bed: Bed, run: Claimed) -> None:
    await bed.set_state(run.run_id, dl=now_ms() - 1)
    await bed.crash("w")


async def by_a_claim(bed: Bed, run: Claimed) -> None:
    await bed.crash("w")
    await bed.set_state(run.run_id, dl=now_ms() - 1)
    await bed.renew("w2")
    assert await bed.claim("w2") == []


ENDS = [by_its_owner, by_another, by_a_cancel_while_it_waits, by_a_sweep, by_a_claim]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_journal_goes_with_the_end_of_its_run(
    bed: Bed, run: Claimed, end: Callable[[Bed, Claimed], Awaitable[None]]
) -> None:
    await bed.record(run, 3, b"one", Step())
    await end(bed, run)
    assert (await bed.state(run.run_id))["st"] == "done"
    assert await bed.journal(run.run_id) == []
    assert await bed.record(run, 3, b"one", Step()) in ("known", "fenced")
    assert await bed.journal(run.run_id) == []


async def test_a_run_that_went_on_without_its_journal_is_lost_with_its_worker(
    bed: Bed, run: Claimed
) -> None:
    await bed.record(run, 3, b"one", Step())
    await bed.record(run, 4, b"", Step())
    await assert_lost(bed, run)


async def test_a_run_whose_journal_is_gone_is_lost_with_its_worker(bed: Bed, run: Claimed) -> None:
    await bed.record(run, 3, b"one", Step())
    await bed.redis.delete(bed.keys.journal(run.run_id))
    await assert_lost(bed, run)


async def assert_lost(bed: Bed, run: Claimed) -> None:
    await bed.crash("w")
    await bed.renew("w2")
    assert await bed.claim("w2") == []
    last = (await bed.events(run.run_id))[-1]
    assert isinstance(last, Failed) and last.code == "worker_lost"
    assert await bed.traces(run.run_id) == []
