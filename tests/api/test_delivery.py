import logging
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from tests.api.conversation_bed import CONVERSATION, turn
from tests.api.outbox_bed import EVENTS, bed, runs
from tests.fakes.webhook_sink import WebhookSink
from tests.patience import until
from trunkline_api.delivery import AT_ONCE
from trunkline_shared.conversation import encode_turn
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis


@pytest.fixture
async def sink() -> AsyncIterator[WebhookSink]:
    async with WebhookSink() as sink:
        yield sink


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
            await outbox.emptied(but=1)
            async with other:
                await outbox.emptied()
    assert [told.path for told in other.taken] == [told.path for told in sink.taken]
    assert len(sink.asked) == 2


async def test_one_that_is_down_holds_back_no_turn_of_another(
    redis_url: str, sink: WebhookSink
) -> None:
    async with WebhookSink() as other:
        pass  # its port refuses connections from now on
    async with bed(redis_url, other.url, sink.url) as outbox:
        await outbox.write(turns=[turn(1), turn(2), turn(3)])
        async with outbox.delivering():
            for number in (1, 2, 3):
                await outbox.end(f"run-{number}")
            await until(lambda: runs(sink.taken) == ["run-1", "run-2", "run-3"])
            await outbox.emptied(but=3)
            async with other:
                await outbox.emptied()
    assert runs(other.taken) == runs(sink.asked) == ["run-1", "run-2", "run-3"]


async def test_one_that_hangs_takes_no_room_of_another(redis_url: str, sink: WebhookSink) -> None:
    conversations = [str(uuid4()) for _ in range(AT_ONCE + 5)]
    async with WebhookSink(lambda told: None) as other:
        async with bed(redis_url, other.url, sink.url) as outbox:
            for each in conversations:
                await outbox.write(each, [turn(1)])
                await outbox.end("run-1", each)
            async with outbox.delivering():
                await until(lambda: len(runs(sink.taken)) == len(conversations))
        assert other.most_at_once == AT_ONCE


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_what_may_be_taken_later_is_told_again(
    redis_url: str, sink: WebhookSink, status: int
) -> None:
    answers = [status, status]
    sink.answer = lambda told: answers.pop() if answers else 200
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await outbox.emptied()
    assert runs(sink.taken) == ["run-1"]


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
