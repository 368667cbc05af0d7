"""A publisher over one Redis, and the runs that it writes."""

from typing import Any

from redis.asyncio import Redis

from tests.contract.script_bed import Bed
from trunkline_shared.events import RunEvent, TextDelta
from trunkline_shared.pipe import Pipe
from trunkline_worker.execute import Claimed
from trunkline_worker.publish import Publisher
from trunkline_worker.run_writer import RunWriter


class PublishBench:
    """A publisher over one Redis, and the runs that it writes."""

    def __init__(self, client: Redis) -> None:
        self.bed = Bed(client)
        self.lost: list[tuple[str, str]] = []
        self.allowed = True
        self.pipe = Pipe(client, self.bed.scripts, timeout_s=5.0, name="frames")
        self.publisher = Publisher(
            self.pipe,
            max_run_bytes=20_000,
            allowed=lambda: self.allowed,
            on_lost=self._on_lost,
        )

    def _on_lost(self, run_id: str, answer: str) -> None:
        self.lost.append((run_id, answer))

    async def start(self) -> None:
        await self.pipe.start()
        await self.pipe.connected()
        await self.bed.renew()
        await self.publisher.start()

    async def aclose(self) -> None:
        await self.publisher.aclose()
        await self.pipe.aclose()

    async def open(self, **wanted: Any) -> tuple[Claimed, RunWriter]:
        await self.bed.submit(**wanted)
        (run,) = await self.bed.claim()
        return run, self.writer(run)

    def writer(self, run: Claimed) -> RunWriter:
        return self.publisher.open_run(run.run_id, run.epoch, run.last_seq, run.reply)

    async def said(self, run: Claimed) -> list[RunEvent]:
        """What the log holds of this attempt; fails on a hole in its numbers."""
        seq, events = 1, []
        for _, first_seq, batch in await self.bed.log(run.run_id):
            assert first_seq == seq
            seq += len(batch)
            events += batch
        return events[2:]


def text_of(events: list[RunEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))
