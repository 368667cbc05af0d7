import asyncio
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.api.conversation_bed import CONVERSATION, ConversationBed, turn
from tests.fakes.webhook_sink import Told, WebhookSink
from tests.patience import until
from trunkline_api.outbox import AT_ONCE, Lease, LeaseLost, Outbox
from trunkline_api.webhooks import Webhook
from trunkline_shared.conversation import encode_turn
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis

EVENTS = f"/hooks/events/{UUID(CONVERSATION).hex}"


class OutboxBed(ConversationBed):
    async def end(self, run: str, conversation: str = CONVERSATION, id: str = "*") -> None:
        """What `finish` does at the end of a run."""
        await self.redis.xadd(self.keys.outbox, {"c": conversation, "r": run}, id=id)

    async def left(self) -> int:
        return int(await self.redis.xlen(self.keys.outbox))

    async def emptied(self) -> None:
        async with asyncio.timeout(20):
            while await self.left():  # noqa: ASYNC110  # there is no event to wait for
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[Outbox]:
        outbox = Outbox(self.settings, self.keys, self.pipe, self.conversations)
        try:
            await outbox.start()
            yield outbox
        finally:
            await outbox.aclose()


@pytest.fixture
async def sink() -> AsyncIterator[WebhookSink]:
    async with WebhookSink() as sink:
        yield sink


@asynccontextmanager
async def bed(
    redis_url: str, *urls: str, settings: dict[str, Any] | None = None, **spec: Any
) -> AsyncIterator[OutboxBed]:
    spec = {"retry_delay": 0, "headers": {"X-Hook": "word"}} | spec
    webhooks = tuple(Webhook(base_url=url, **spec) for url in urls)
    async with OutboxBed(redis_url, webhooks=webhooks, **settings or {}) as bed:
        yield bed  # type: ignore[misc]


def runs(told: list[Told]) -> list[str]:
    """Whose answers were told, in their order."""
    events = [event for each in told if "/events/" in each.path for event in each.body]
    return [e["llm_response_id"].partition("-")[2] for e in events if e["source"] == "agent"]


async def test_a_turn_is_told_as_events_and_then_as_the_conversation(
    redis_url: str, sink: WebhookSink
) -> None:
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1), turn(2)], status="finished")
        await outbox.end("run-2")
        async with outbox.delivering():
            await outbox.emptied()
    events, conversation = sink.asked
    assert (events.path, conversation.path) == (EVENTS, "/hooks/conversations")
    assert events.headers["x-hook"] == conversation.headers["x-hook"] == "word"
    assert events.headers["content-type"] == "application/json"
    assert [event["kind"] for event in events.body] == ["MessageEvent"] * 2
    assert runs([events]) == ["run-2"]
    assert conversation.body["id"] == CONVERSATION
    assert conversation.body["leaf_event_id"] == events.body[-1]["id"]


async def test_a_request_holds_no_more_events_than_the_webhook_wants(
    redis_url: str, sink: WebhookSink
) -> None:
    async with bed(redis_url, sink.url, event_buffer_size=1) as outbox:
        await outbox.write(turns=[turn(1)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await outbox.emptied()
    assert [each.path for each in sink.asked] == [EVENTS, EVENTS, "/hooks/conversations"]


async def test_turns_of_one_conversation_go_in_order_and_those_of_others_meanwhile(
    redis_url: str, sink: WebhookSink
) -> None:
    failures = [503, 429, 408]
    sink.answer = lambda told: failures.pop() if told.path == EVENTS and failures else 200
    others = [str(uuid4()) for _ in range(40)]
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(number) for number in range(6)])
        for number in range(6):
            await outbox.end(f"run-{number}")
        for other in others:
            await outbox.write(other, [turn(7)])
            await outbox.end("run-7", other)
        async with outbox.delivering():
            await outbox.emptied()
    mine = [told for told in sink.taken if told.path == EVENTS]
    assert runs(mine) == [f"run-{number}" for number in range(6)]
    assert failures == []
    assert {told.path for told in sink.taken} >= {f"/hooks/events/{UUID(o).hex}" for o in others}
    assert 1 < sink.most_at_once <= AT_ONCE


async def test_every_webhook_hears_of_it_and_one_that_is_down_waits_for_nobody(
    redis_url: str, sink: WebhookSink
) -> None:
    async with WebhookSink() as other:
        pass  # its port refuses connections from now on
    async with bed(redis_url, sink.url, other.url) as outbox:
        await outbox.write(turns=[turn(1)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await until(lambda: len(sink.taken) == 2)
            assert await outbox.left() == 1
            async with other:
                await outbox.emptied()
    assert [told.path for told in other.taken] == [told.path for told in sink.taken]
    assert len(sink.asked) == 2


@pytest.mark.parametrize("status", [400, 404, 307])
async def test_what_a_webhook_refuses_is_dropped_with_an_error(
    redis_url: str, sink: WebhookSink, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answer = lambda told: status
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await outbox.emptied()
    assert len(sink.asked) == 2
    (first, _) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert f"status {status}" in first and "run-1" in first and "word" not in caplog.text


async def test_patience_ends_and_what_comes_later_is_told(
    redis_url: str, sink: WebhookSink, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"webhook_timeout_s": 0.2, "webhook_patience_s": 60.0}
    sink.answer = lambda told: None if runs([told]) == ["run-1"] else 200
    async with bed(redis_url, sink.url, settings=settings) as outbox:
        await outbox.write(turns=[turn(1), turn(2)])
        await outbox.end("run-1", id=f"{int(time.time() * 1000) - 59_000}-0")
        await outbox.end("run-2")
        async with outbox.delivering():
            await outbox.emptied()
    assert runs(sink.taken) == ["run-2"]
    assert 1 < runs(sink.asked).count("run-1") < 20
    assert "TimeoutError" in caplog.text


async def test_a_conversation_that_was_deleted_is_not_told_of(
    redis_url: str, sink: WebhookSink
) -> None:
    async with bed(redis_url, sink.url) as outbox:
        await outbox.end("run-1")
        await outbox.redis.xadd(outbox.keys.outbox, {"of": "another version"})
        async with outbox.delivering():
            await outbox.emptied()
    assert sink.asked == []


@pytest.mark.parametrize(
    ("sealed", "words"),
    [
        (Vault("another key").seal(encode_turn(turn(1))), "TRUNKLINE_SECRET_KEY"),
        (encode_turn(turn(1, items=[{"type": "message"}])), "KeyError"),
        (b'{"v": 99}', "ValueError"),
    ],
)
async def test_what_cannot_be_read_is_not_told_of(
    redis_url: str,
    sink: WebhookSink,
    caplog: pytest.LogCaptureFixture,
    sealed: bytes,
    words: str,
) -> None:
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write()
        await outbox.redis.rpush(outbox.keys.turns(CONVERSATION), sealed)  # type: ignore[misc]
        await outbox.end("run-1")
        async with outbox.delivering():
            await outbox.emptied()
    assert sink.asked == []
    assert words in caplog.text


async def test_a_connection_to_redis_that_breaks_is_no_end(
    redis_url: str, sink: WebhookSink
) -> None:
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1), turn(2)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await outbox.emptied()
            await outbox.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await outbox.end("run-2")
            await outbox.emptied()
    assert runs(sink.taken) == ["run-1", "run-2"]


async def test_one_process_at_a_time_delivers(redis_url: str, sink: WebhookSink) -> None:
    async with bed(redis_url, sink.url) as first, bed(redis_url, sink.url) as second:
        await first.write(turns=[turn(number) for number in range(5)])
        async with first.delivering(), second.delivering():
            for number in range(5):
                await first.end(f"run-{number}")
            await first.emptied()
    assert runs(sink.asked) == [f"run-{number}" for number in range(5)]


async def test_a_lease_is_anothers_only_when_it_is_over(redis_url: str) -> None:
    async with bed(redis_url) as outbox:
        mine, theirs = (Lease(outbox.pipe, "lease") for _ in range(2))
        assert await mine.renew() and await mine.renew()
        mine.check()
        assert not await theirs.renew()
        with pytest.raises(LeaseLost):
            theirs.check()
        await outbox.redis.delete("lease")
        assert await theirs.renew()
        assert not await mine.renew()


async def test_a_process_that_ends_waits_for_no_webhook_and_loses_nothing(
    redis_url: str, sink: WebhookSink
) -> None:
    sink.answer = lambda told: None
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await until(lambda: sink.asked)
        assert await outbox.left() == 1
        assert not [task for task in asyncio.all_tasks() if "outbox" in task.get_name()]


async def test_a_killed_process_loses_nothing(redis_url: str, sink: WebhookSink) -> None:
    sink.answer = lambda told: None
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1), turn(2)])
        await outbox.end("run-1")
        await outbox.end("run-2")
        command = (sys.executable, "-m", "tests.api.outbox_process", redis_url, sink.url)
        killed = await asyncio.create_subprocess_exec(*command)
        try:
            await until(lambda: sink.asked)  # the request is out, and nobody has answered
        finally:
            killed.send_signal(signal.SIGKILL)
            await killed.wait()
        sink.answer = lambda told: 200
        async with outbox.delivering():
            await outbox.emptied()
    assert runs(sink.taken) == ["run-1", "run-2"]
