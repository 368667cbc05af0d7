"""One stream from what is pushed, and what the log holds, to what its client gets."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.api.fake_log import FakeLog, frame
from tests.patience import until
from trunkline_api.exchange import Exchange
from trunkline_api.hub import Reader
from trunkline_api.relay import Relay
from trunkline_api.render.chat import ChatRenderer
from trunkline_api.settings import ApiSettings
from trunkline_api.stream import Stream
from trunkline_shared.events import Attempt, Finished, ReasoningDelta, RunEvent, TextDelta
from trunkline_shared.frame import decode_frame
from trunkline_shared.keys import Keys
from trunkline_shared.run import new_run_id

RUN_ID = new_run_id(1_700_000_000_123)
LONG = "a text that makes a frame worth a look before it is decoded"
END = Finished("stop")


class FakeClient:
    """Takes pieces at once unless its socket is `full`; then `send` waits until it is not."""

    def __init__(self) -> None:
        self.began = False
        self.pieces: list[tuple[str, bytes]] = []  # how each came
        self.whole = False
        self.room = asyncio.Event()
        self.room.set()

    @property
    def takes_head(self) -> bool:
        return self.room.is_set()

    def begin(self, headers: Any, piece: bytes, *, last: bool = False) -> None:
        assert self.takes_head and not self.began
        self.began = True
        self.write(piece, last=last)

    @property
    def takes_more(self) -> bool:
        return self.began and self.room.is_set()

    def write(self, piece: bytes, *, last: bool = False) -> None:
        assert self.takes_more and not self.whole
        self.pieces.append(("written", piece))
        self.whole = last

    async def send(self, message: Any) -> None:
        await self.room.wait()
        assert not self.whole
        if message["type"] == "http.response.start":
            self.began = True
        else:
            self.pieces.append(("sent", message["body"]))
            self.whole = not message["more_body"]

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    @property
    def text(self) -> str:
        blocks = (block.removeprefix(b"data: ") for block in self.body.split(b"\n\n"))
        chunks = [orjson.loads(block) for block in blocks if block.startswith(b"{")]
        deltas = (chunk["choices"][0]["delta"] for chunk in chunks if "choices" in chunk)
        return "".join(delta.get("content") or "" for delta in deltas)


class Bench:
    """A stream in a task of its own. What is pushed goes into the log first."""

    def __init__(self, *, max_bytes: int = 256 * 1024, **settings: Any) -> None:
        self.log = FakeLog()
        self.reader = Reader(RUN_ID, max_bytes)
        self.relay = Relay(self.reader, self.log, Keys())  # type: ignore[arg-type]
        self.client = FakeClient()
        self.exchange = Exchange("req_x")
        read = ApiSettings(**{"headers_after_s": 20.0, "heartbeat_s": 20.0} | settings)
        self.renderer = ChatRenderer(RUN_ID, "m", include_usage=False)
        client: Any = self.client
        stream = Stream(self.renderer, client, client.send, self.exchange, read)
        self.task = asyncio.create_task(stream.tell(self.relay))

    def push(self, first_seq: int, *events: RunEvent, epoch: int = 5) -> None:
        self.reader.push(*self.log.add(first_seq, *events, epoch=epoch))

    async def waits(self) -> None:
        """Returns when all that was pushed is told."""
        await until(lambda: self.reader._waiter and not self.reader._waiter.done())

    async def begin(self) -> None:
        """A stream that has said `a`, with seq 3."""
        self.push(2, Attempt(1))
        self.push(3, TextDelta("a"))
        await until(lambda: self.client.text == "a")
        await self.waits()
        self.client.pieces.clear()

    async def end(self) -> None:
        async with asyncio.timeout(20):
            await self.task
        assert self.client.whole


@asynccontextmanager
async def streaming(**options: Any) -> AsyncIterator[Bench]:
    bench = Bench(**options)
    yield bench
    bench.task.cancel()
    await asyncio.gather(bench.task, return_exceptions=True)
    bench.reader.discard()


def replay(log: FakeLog) -> bytes:
    """What anybody makes of the log alone."""
    renderer = ChatRenderer(RUN_ID, "m", include_usage=False)
    return b"".join(renderer.render(decode_frame(data)[1]) for _, data in log.entries)


async def test_what_is_simply_next_is_written_where_it_arrives() -> None:
    async with streaming() as bench:
        await bench.begin()
        for seq, text in ((4, "b"), (5, LONG), (6, 'a "quoted" text')):
            bench.push(seq, TextDelta(text))
            assert bench.client.text.endswith(text)
        bench.push(7, ReasoningDelta("why"))
        assert {how for how, _ in bench.client.pieces} == {"written"}
        assert bench.log.reads == 0


async def test_the_end_follows_all_that_was_written() -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.push(4, TextDelta("b"))
        bench.push(5, TextDelta("c"), END)
        bench.reader.push(*frame(7, TextDelta("late")))
        await bench.end()
        assert bench.client.text == "bc" and bench.client.body.endswith(b"data: [DONE]\n\n")
        assert [how for how, _ in bench.client.pieces] == ["written", "written"]


async def test_a_short_answer_leaves_in_one_piece() -> None:
    async with streaming() as bench:
        bench.push(3, *map(TextDelta, ("Hel", LONG)), END)
        await bench.end()
        assert [how for how, _ in bench.client.pieces] == ["written"]
        assert bench.client.text == "Hel" + LONG


async def test_what_a_full_socket_does_not_take_follows_in_order() -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.client.room.clear()
        bench.push(4, TextDelta("b"))
        bench.push(5, TextDelta("c"))
        await asyncio.sleep(0)
        bench.push(6, TextDelta("d"))
        assert bench.client.pieces == []
        bench.client.room.set()
        bench.push(7, TextDelta("e"))  # before it must come what waits
        await bench.waits()
        bench.push(8, TextDelta("f"))
        assert bench.client.text == "bcdef"
        assert bench.client.pieces[-1][0] == "written"
        assert bench.log.reads == 0


async def test_what_a_full_socket_overflows_with_comes_from_the_log() -> None:
    async with streaming(max_bytes=1000) as bench:
        await bench.begin()
        bench.client.room.clear()
        texts = [f"{number} " + "x" * 100 for number in range(30)]
        for seq, text in enumerate(texts, 4):
            bench.push(seq, TextDelta(text))
            await asyncio.sleep(0)
        assert not bench.reader._frames
        bench.client.room.set()
        await bench.waits()
        assert bench.client.text == "".join(texts)
        assert bench.log.reads > 0


async def test_a_hole_is_filled_from_the_log_before_what_shows_it() -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.log.add(4, TextDelta("lost"))
        bench.push(5, TextDelta("b"))
        bench.push(6, TextDelta("c"))
        await bench.waits()
        bench.push(7, TextDelta("d"))
        assert bench.client.text == "lostbcd"


async def test_what_comes_twice_is_told_once() -> None:
    async with streaming() as bench:
        await bench.begin()
        for _ in range(2):
            bench.reader.push(*frame(4, TextDelta("b")))
            bench.reader.push(*frame(5, TextDelta("c")))
        await bench.waits()
        assert bench.client.text == "bc"


async def test_a_first_attempt_that_nobody_pushes_is_told_as_if_it_had_been() -> None:
    async with streaming(headers_after_s=0.01) as bench:
        await until(lambda: bench.client.began)
        await bench.waits()
        bench.log.add(2, Attempt(1))
        bench.push(3, TextDelta("a"))
        bench.push(4, TextDelta("b"), END)
        await bench.end()
        assert bench.client.body == b": hb\n\n" + replay(bench.log)
        assert bench.log.reads == 0


async def test_comments_come_in_silences_and_only_there() -> None:
    async with streaming(heartbeat_s=0.2) as bench:
        await bench.begin()
        for seq in range(4, 24):
            bench.push(seq, TextDelta("x"))
            await asyncio.sleep(0.02)
        spoken = bench.client.body.count(b": hb\n\n")
        assert spoken < 2  # of two time-outs; one is what a slow machine may make of it
        await until(lambda: bench.client.body.count(b": hb\n\n") > spoken)


@pytest.mark.parametrize(
    ("stream_id", "data"),
    [frame(3, Attempt(2), epoch=9), (b"5-5", b'[5,["of a later version"]]'), (b"5-5", b"")],
)
async def test_what_cannot_be_told_ends_the_stream_with_an_error(
    stream_id: bytes, data: bytes
) -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.push(4, TextDelta("b"))
        bench.reader.push(stream_id, data)
        await bench.end()
        assert bench.exchange.error_code == "run_lost"
        assert b'"code":"run_lost"' in bench.client.body and b"[DONE]" not in bench.client.body


async def test_what_breaks_a_stream_breaks_it_alone() -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.renderer.render = None  # type: ignore[assignment, method-assign]
        bench.push(4, TextDelta("b"))
        with pytest.raises(TypeError):
            await bench.task
        assert bench.client.pieces == [] and not bench.client.whole


async def test_a_client_that_left_is_told_no_more() -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.reader.close()
        bench.push(4, TextDelta("b"))
        await asyncio.wait([bench.task])
        assert bench.client.pieces == []


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_is_lost_doubled_or_held_up_the_client_gets_what_the_log_holds(
    seed: int,
) -> None:
    chance = random.Random(seed)
    async with streaming(max_bytes=600) as bench:
        bench.log.add(2, Attempt(1))
        seq = 3
        for _ in range(60):
            events: list[RunEvent] = [
                chance.choice([TextDelta, ReasoningDelta])(
                    f"{seq + n} " + chance.choice(["", '"', LONG])
                )
                for n in range(chance.choice([1, 1, 1, 4]))
            ]
            entry = bench.log.add(seq, *events)
            seq += len(events)
            for _ in range(chance.choice([0, 1, 1, 1, 1, 1, 2])):
                bench.reader.push(*entry)
            if chance.random() < 0.2:
                (bench.client.room.clear if bench.client.room.is_set() else bench.client.room.set)()
            if chance.random() < 0.1:
                bench.reader.look_into_log()
            for _ in range(chance.choice([0, 0, 1, 5])):
                await asyncio.sleep(0)
        bench.client.room.set()
        bench.push(seq, END)
        await bench.end()
        assert bench.client.body.replace(b": hb\n\n", b"") == replay(bench.log)
