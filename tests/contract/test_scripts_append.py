import pytest

from tests.contract.script_bed import Bed
from trunkline_shared.events import Failed, Finished, TextDelta
from trunkline_shared.frame import encode_frame
from trunkline_worker.execute import Claimed


@pytest.fixture
async def run(bed: Bed) -> Claimed:
    await bed.renew()
    await bed.submit(reply="back")
    (run,) = await bed.claim()
    return run


async def test_a_frame_lands_once_and_its_repetition_is_known(bed: Bed, run: Claimed) -> None:
    assert await bed.append(run, 3, TextDelta("a")) == "added"
    assert await bed.append(run, 3, TextDelta("a")) == "known"
    assert await bed.append(run, 4, TextDelta("b"), TextDelta("c")) == "added"
    assert await bed.append(run, 3, TextDelta("a")) == "known"
    frames = [(at, seq) for at, seq, _ in await bed.log(run.run_id)]
    assert frames[2:] == [(f"{run.epoch}-3", 3), (f"{run.epoch}-5", 4)]


async def test_a_frame_that_would_leave_a_hole_is_early(bed: Bed, run: Claimed) -> None:
    assert await bed.append(run, 4, TextDelta("b")) == "early"
    assert len(await bed.log(run.run_id)) == 2


async def test_a_frame_that_is_cut_otherwise_than_what_is_there_is_refused(
    bed: Bed, run: Claimed
) -> None:
    assert await bed.append(run, 3, TextDelta("a")) == "added"
    assert await bed.append(run, 3, TextDelta("a"), TextDelta("b")) == "refused"
    assert await bed.append(run, 4, TextDelta("b"), TextDelta("c")) == "added"
    assert await bed.append(run, 4, TextDelta("b")) == "refused"
    assert len(await bed.events(run.run_id)) == 5


async def test_a_log_that_is_gone_stays_gone(bed: Bed, run: Claimed) -> None:
    await bed.redis.delete(bed.keys.log(run.run_id))
    assert await bed.append(run, 3, TextDelta("a")) == "gone"
    assert not await bed.redis.exists(bed.keys.log(run.run_id))


async def test_an_owner_of_old_is_fenced_from_the_next_claim_on(bed: Bed, run: Claimed) -> None:
    await bed.append(run, 3, TextDelta("a"))
    await bed.crash("w")
    await bed.renew("w2")
    (later,) = await bed.claim("w2")
    assert later.epoch > run.epoch
    assert await bed.append(run, 4, TextDelta("b")) == "fenced"
    assert await bed.append(run, 3, TextDelta("a")) == "fenced"
    assert await bed.finish(run, 4, Finished("stop")) == "fenced"
    assert await bed.append(later, later.last_seq + 1, TextDelta("c")) == "added"


async def test_an_owner_is_fenced_once_somebody_else_has_ended_its_run(
    bed: Bed, run: Claimed
) -> None:
    assert await bed.finish_for(run.run_id) == "ok"
    assert await bed.append(run, 3, TextDelta("a")) == "fenced"
    assert await bed.finish(run, 3, Finished("stop")) == "done"
    assert len(await bed.events(run.run_id)) == 3


async def test_many_frames_are_answered_one_by_one(bed: Bed, run: Claimed) -> None:
    other = await bed.submit()
    (second,) = await bed.claim()
    calls: list[str | bytes] = []
    for which, first_seq in ((run, 3), (second, 3), (run, 4), (run, 9), (run, 3)):
        at = f"{which.epoch}-{first_seq}"
        calls += [which.run_id, at, encode_frame(first_seq, [TextDelta("x")])]
    assert await bed.call("append", "", "00000", *calls) == [
        b"added",
        b"added",
        b"added",
        b"early",
        b"known",
    ]
    assert len(await bed.events(run.run_id)) == 4
    assert len(await bed.events(other)) == 3


async def test_what_is_new_is_published_and_a_repetition_is_not(bed: Bed, run: Claimed) -> None:
    listener = bed.redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe("back", "end")
    for text, first_seq in (("a", 3), ("a", 3), ("b", 4)):
        await bed.append(run, first_seq, TextDelta(text), reply="back")
    await bed.redis.publish("end", "end")
    heard: list[bytes] = []
    while not heard or heard[-1] != b"end":
        message = await listener.get_message(timeout=5)
        if message:
            heard.append(message["data"])
    await listener.aclose()
    name = run.run_id
    assert heard[:-1] == [
        f'{name} {run.epoch}-3 [3,["T","a"]]'.encode(),
        f'{name} {run.epoch}-4 [4,["T","b"]]'.encode(),
    ]


async def test_frames_for_one_reader_in_one_call_are_one_message_in_order(
    bed: Bed, run: Claimed
) -> None:
    listener = bed.redis.pubsub(ignore_subscribe_messages=True)
    await listener.subscribe("back")
    calls: list[str | bytes] = []
    for first_seq in (3, 4):
        frame = encode_frame(first_seq, [TextDelta("x")])
        calls += [run.run_id, f"{run.epoch}-{first_seq}", frame]
    assert await bed.call("append", "back", "00", *calls) == b"added"
    message = None
    while message is None:
        message = await listener.get_message(timeout=5)
    await listener.aclose()
    lines = message["data"].split(b"\n")
    assert [line.split(b" ")[1] for line in lines] == [b"%d-3" % run.epoch, b"%d-4" % run.epoch]


async def test_epochs_of_different_length_are_compared_as_numbers(bed: Bed, run: Claimed) -> None:
    await bed.set_state(run.run_id, epoch=10**15)
    await bed.hand_back("w", run.run_id)
    (later,) = await bed.claim()
    assert later.epoch == 10**15 + 1
    assert await bed.append(run, 3, TextDelta("a")) == "fenced"
    assert await bed.append(later, 4, Failed("server_error", "x")) == "added"


async def test_a_frame_that_surely_follows_is_fenced_all_the_same(bed: Bed, run: Claimed) -> None:
    async def follow(first_seq: int, epoch: int = run.epoch) -> bytes:
        frame = encode_frame(first_seq, [TextDelta("x")])
        answer = await bed.call("append", "", "1", run.run_id, f"{epoch}-{first_seq}", frame)
        return bytes(answer if isinstance(answer, bytes) else answer[0])

    assert await follow(3) == b"added"
    assert await follow(3) == b"known"
    assert await follow(4, run.epoch - 1) == b"fenced"
    assert await bed.finish_for(run.run_id) == "ok"
    assert await follow(4) == b"fenced"
    await bed.redis.delete(bed.keys.log(run.run_id))
    assert await follow(4) == b"gone"
