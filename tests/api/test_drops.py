from collections.abc import AsyncIterator

import pytest

from tests.api.tail_bed import TailBed, tail_bed
from trunkline_api.drops import dropped
from trunkline_api.relay import PAGE, Relay, RunLost
from trunkline_shared.events import Attempt, Finished, TextDelta

pytestmark = pytest.mark.redis


@pytest.fixture
async def bed(redis_url: str) -> AsyncIterator[TailBed]:
    async with tail_bed(redis_url) as bed:
        await bed.create("r")
        yield bed


async def test_what_attempts_took_back_is_found_in_the_whole_log(bed: TailBed) -> None:
    for seq in range(2, PAGE + 10):
        await bed.add("r", seq, TextDelta('["attempt",9,9]'))
    await bed.add("r", PAGE + 10, Attempt(2, PAGE), TextDelta("x"), Attempt(3, PAGE + 11))
    assert await dropped(bed.lookup, bed.keys.log("r")) == [
        range(PAGE, PAGE + 10),
        range(PAGE + 11, PAGE + 12),
    ]


async def test_nothing_is_found_where_nothing_was_taken_back(bed: TailBed) -> None:
    await bed.add("r", 2, Attempt(1), TextDelta("a"), Attempt(2), TextDelta("b"))
    assert await dropped(bed.lookup, bed.keys.log("r")) == []


async def test_a_log_of_a_later_version_is_an_error(bed: TailBed) -> None:
    await bed.redis.xadd(bed.keys.log("r"), {"f": b'[2,["attempt",1,null],["hologram"]]'}, "5-3")
    with pytest.raises(RunLost):
        await dropped(bed.lookup, bed.keys.log("r"))


async def test_who_reads_later_is_not_shown_what_was_taken_back(bed: TailBed) -> None:
    await bed.add("r", 2, Attempt(1))
    await bed.add("r", 3, TextDelta("kept"), TextDelta("dropped"))
    await bed.add("r", 5, TextDelta("dropped"))
    await bed.add("r", 6, Attempt(2, 4))
    await bed.add("r", 7, TextDelta("new"), Finished("stop"))
    drops = await dropped(bed.lookup, bed.keys.log("r"))
    async with bed.tail.reading("r") as reader:
        reader.look_into_log()
        relay = Relay(reader, bed.pipe, bed.keys, drops)
        assert await bed.all(relay) == [
            *(Attempt(1), TextDelta("kept"), Attempt(2, 4), TextDelta("new")),
            Finished("stop"),
        ]
