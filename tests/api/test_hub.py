import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.api.fake_log import frame
from tests.patience import until
from trunkline_api import hub as hub_module
from trunkline_api.hub import Hub, Reader, ReaderClosed
from trunkline_shared.events import Failed, Finished, RunEvent, TextDelta
from trunkline_shared.run import RunId


class FakeChannel:
    def __init__(
        self, on_message: Callable[[bytes], None], on_connected: Callable[[], None]
    ) -> None:
        self.hear, self.reconnect = on_message, on_connected
        self.is_ready = False

    async def start(self) -> None:
        self.is_ready = True

    async def ready(self) -> None:
        assert self.is_ready

    async def aclose(self) -> None:
        self.is_ready = False


class Bench:
    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.closing = asyncio.Event()
        self.channel: FakeChannel
        self.hub = Hub(
            self._open,  # type: ignore[arg-type]
            reader_bytes=1000,
            cancel=self.cancelled.append,
            closing=self.closing,
        )

    def _open(self, *callbacks: Callable[..., None]) -> FakeChannel:
        self.channel = FakeChannel(*callbacks)
        return self.channel

    def register(self, name: str) -> Reader:
        return self.hub.register(RunId(name))

    def hear(self, *lines: tuple[str, RunEvent]) -> None:
        """One message with one frame a line."""
        texts = []
        for name, event in lines:
            stream_id, data = frame(3, event)
            texts.append(name.encode() + b" " + stream_id + b" " + data)
        self.channel.hear(b"\n".join(texts))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.hub.start()
    yield bench
    await bench.hub.aclose()


async def test_frames_find_their_readers_many_in_one_message(bench: Bench) -> None:
    one, two = bench.register("one"), bench.register("two")
    bench.hear(("one", TextDelta("a b\n")), ("two", TextDelta("c")), ("one", TextDelta("d")))
    assert [data for _, data in one.take()] == [b'[3,["T","a b\\n"]]', b'[3,["T","d"]]']
    assert [data for _, data in two.take()] == [b'[3,["T","c"]]']
    assert bench.cancelled == []


async def test_a_run_that_nobody_here_reads_is_cancelled_but_not_with_every_frame(
    bench: Bench,
) -> None:
    for _ in range(50):
        bench.hear(("stray", TextDelta("x")))
    bench.hear(("other", TextDelta("x")))
    assert bench.cancelled == ["stray", "other"]


async def test_a_stray_that_goes_on_is_cancelled_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hear(("stray", TextDelta("x")))
    monkeypatch.setattr(hub_module, "ASK_AGAIN_S", 0.0)
    bench.hear(("stray", TextDelta("x")))
    assert bench.cancelled == ["stray", "stray"]


@pytest.mark.parametrize("event", [Finished("stop"), Failed("cancelled", "x")])
async def test_a_stray_end_is_nothing_to_cancel(bench: Bench, event: RunEvent) -> None:
    bench.hear(("stray", event))
    assert bench.cancelled == []


async def test_what_a_released_run_still_says_is_not_taken_for_a_stray_at_once(
    bench: Bench,
) -> None:
    bench.hub.release(bench.register("mine"))
    bench.hear(("mine", TextDelta("x")))
    assert bench.cancelled == []


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"x", b"x y", b"x y {}", b"x y []", b'x y [1,["of a later version"]]', b"\n\n"),
        b'\xff y [1,["t","a"]]',
    ],
)
async def test_a_message_that_cannot_be_read_makes_nobody_deaf(
    bench: Bench, message: bytes
) -> None:
    reader = bench.register("one")
    bench.channel.hear(message)
    bench.hear(("one", TextDelta("a")))
    assert len(reader.take()) == 1
    assert bench.cancelled == []


async def test_after_a_reconnect_every_reader_looks_into_the_log(bench: Bench) -> None:
    readers = [bench.register("one"), bench.register("two")]
    bench.channel.reconnect()
    assert all([await reader.wait(1) for reader in readers])
    assert all(reader.behind for reader in readers)


async def test_an_overflow_drops_everything_and_points_to_the_log(bench: Bench) -> None:
    reader = bench.register("one")
    for _ in range(3):
        bench.hear(("one", TextDelta("x" * 400)))
    assert reader.behind and reader.take() == []


async def test_a_reader_that_hears_nothing_looks_into_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert hub_module.SILENCE_S == 5.0
    monkeypatch.setattr(hub_module, "SILENCE_S", 0.05)
    bench = Bench()
    await bench.hub.start()
    silent = bench.register("one")
    await until(lambda: silent.behind)
    await bench.hub.aclose()


async def test_closing_tells_every_reader_that_the_process_ends(bench: Bench) -> None:
    readers = [bench.register("one"), bench.register("two")]
    bench.closing.set()
    for reader in readers:
        with pytest.raises(ReaderClosed) as caught:
            async with asyncio.timeout(10):
                await reader.wait(10)
        assert caught.value.shutting_down


async def test_readers_that_come_after_closing_are_told_as_well(bench: Bench) -> None:
    bench.closing.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ReaderClosed):
        await bench.register("late").wait(0.2)


async def test_it_is_ready_when_its_subscription_is(bench: Bench) -> None:
    assert bench.hub.ready
    await bench.hub.subscribed()
    bench.channel.is_ready = False
    assert not bench.hub.ready
