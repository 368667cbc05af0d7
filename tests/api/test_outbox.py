import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import pytest

from tests.api.conversation_bed import CONVERSATION, turn
from tests.api.outbox_bed import EVENTS, bed, runs
from tests.fakes.webhook_sink import WebhookSink
from tests.patience import until
from trunkline_api.outbox import names

pytestmark = pytest.mark.redis


@pytest.fixture
async def sink() -> AsyncIterator[WebhookSink]:
    async with WebhookSink() as sink:
        yield sink


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


def test_a_webhook_keeps_its_name_when_others_come_and_go() -> None:
    first, again, other = names(["http://a", "http://a", "http://b"])
    assert len({first, again, other}) == 3
    assert [*names(["http://b", "http://a"])] == [other, first]


async def test_what_waits_for_a_webhook_lives_as_long_as_conversations(
    redis_url: str, sink: WebhookSink
) -> None:
    sink.answer = lambda told: None
    async with bed(redis_url, sink.url) as outbox:
        await outbox.write(turns=[turn(1)])
        await outbox.end("run-1")
        async with outbox.delivering():
            await until(lambda: sink.asked)
        (stream,) = await outbox.redis.keys(outbox.keys.outbox_of("*"))
        assert 29 < await outbox.redis.ttl(stream) / 86_400 <= 30


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
