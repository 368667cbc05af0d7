import base64
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.api.outbox_bed import OutboxBed
from tests.fakes.webhook_sink import Told, WebhookSink
from trunkline_api.response_receiver import ResponseReceiver
from trunkline_api.response_webhooks import ResponseWebhook
from trunkline_shared import fold
from trunkline_shared.events import Failed, Finished, Terminal
from trunkline_shared.fold import Folded
from trunkline_shared.run import new_run_id
from trunkline_shared.vault import Vault

pytestmark = pytest.mark.redis
is_passing = ResponseReceiver.is_passing
SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
async def sink() -> AsyncIterator[WebhookSink]:
    async with WebhookSink() as sink:
        yield sink


class ResponsesBed(OutboxBed):
    async def end_response(self, terminal: Terminal, run_id: str = "") -> str:
        """What `finish` does at the end of a stored run; its response's id."""
        run_id = run_id or new_run_id()
        result = self.vault.seal(fold.encode(Folded(terminal=terminal)))
        await self.redis.set(self.keys.result(run_id), result)
        await self.redis.xadd(self.keys.outbox_responses, {"r": run_id})
        return f"resp_{run_id}"


@asynccontextmanager
async def bed(redis_url: str, url: str, **spec: Any) -> AsyncIterator[ResponsesBed]:
    webhook = ResponseWebhook.model_validate({"url": url, "secret": SECRET, **spec})
    async with ResponsesBed(redis_url, response_webhooks=(webhook,)) as bed:
        yield bed


def unwrapped(told: Told) -> Any:
    client = openai.OpenAI(api_key="none", webhook_secret=SECRET)
    return client.webhooks.unwrap(told.raw, told.headers)


@pytest.mark.parametrize(
    ("terminal", "kind"),
    [
        (Finished("stop"), "response.completed"),
        (Finished("tool_calls"), "response.completed"),
        (Finished("length"), "response.incomplete"),
        (Finished("content_filter"), "response.incomplete"),
        (Failed("server_error", "It broke."), "response.failed"),
        (Failed("cancelled", "It was cancelled."), "response.cancelled"),
    ],
)
async def test_the_event_is_named_after_the_stored_result(
    redis_url: str, sink: WebhookSink, terminal: Terminal, kind: str
) -> None:
    async with bed(redis_url, sink.url) as outbox:
        response = await outbox.end_response(terminal)
        async with outbox.delivering():
            await outbox.emptied()
    (told,) = sink.taken
    event = unwrapped(told)
    assert (event.type, event.data.id, event.object) == (kind, response, "event")
    assert told.body.keys() == {"id", "object", "created_at", "type", "data"}
    assert event.id.startswith("evt_") and abs(event.created_at - time.time()) < 60
    assert (told.path, told.headers["content-type"]) == ("/hooks", "application/json")


async def test_each_attempt_has_the_same_id_and_body_and_is_signed_anew(
    redis_url: str, sink: WebhookSink
) -> None:
    answers = [500, 404]
    sink.answer = lambda told: answers.pop() if answers else 204
    async with bed(redis_url, sink.url) as outbox:
        await outbox.end_response(Finished("stop"))
        async with outbox.delivering():
            await outbox.emptied()
    assert len(sink.asked) == 3 and len(sink.taken) == 1
    assert len({told.headers["webhook-id"] for told in sink.asked}) == 1
    assert len({told.raw for told in sink.asked}) == 1
    assert len({unwrapped(told).id for told in sink.asked}) == 1


def test_whoever_may_take_it_later_is_asked_again() -> None:
    passing = [code for code in (302, 400, 401, 404, 410, 429, 503) if is_passing(code)]
    assert passing == [302, 400, 401, 404, 429, 503]


async def test_a_receiver_that_is_gone_is_told_once(redis_url: str, sink: WebhookSink) -> None:
    sink.answer = lambda told: 410
    async with bed(redis_url, sink.url) as outbox:
        await outbox.end_response(Finished("stop"))
        async with outbox.delivering():
            await outbox.emptied()
    assert len(sink.asked) == 1


async def test_a_receiver_hears_of_the_ends_that_it_wants(
    redis_url: str, sink: WebhookSink
) -> None:
    async with bed(redis_url, sink.url, events=["response.failed"]) as outbox:
        await outbox.end_response(Finished("stop"))
        failed = await outbox.end_response(Failed("server_error", "It broke."))
        async with outbox.delivering():
            await outbox.emptied()
    assert [told.body["data"]["id"] for told in sink.asked] == [failed]


async def test_what_was_deleted_or_cannot_be_read_is_not_told_of_and_stops_nobody(
    redis_url: str, sink: WebhookSink, caplog: pytest.LogCaptureFixture
) -> None:
    async with bed(redis_url, sink.url) as outbox:
        deleted, foreign, broken = new_run_id(), new_run_id(), new_run_id()
        for run_id in (deleted, foreign, broken):
            await outbox.end_response(Finished("stop"), run_id)
        await outbox.redis.delete(outbox.keys.result(deleted))
        await outbox.redis.set(outbox.keys.result(foreign), Vault("another").seal(b"{}"))
        await outbox.redis.set(outbox.keys.result(broken), b'{"v":1}')
        fine = await outbox.end_response(Finished("stop"))
        async with outbox.delivering():
            await outbox.emptied()
    assert [told.body["data"]["id"] for told in sink.asked] == [fine]
    assert foreign in caplog.text and broken in caplog.text and deleted not in caplog.text


async def test_a_receiver_that_is_down_holds_nobody_back(redis_url: str, sink: WebhookSink) -> None:
    hooks = [{"url": url, "secret": SECRET} for url in ("http://127.0.0.1:9/down", sink.url)]
    webhooks = tuple(map(ResponseWebhook.model_validate, hooks))
    async with ResponsesBed(redis_url, response_webhooks=webhooks) as outbox:
        ended = [await outbox.end_response(Finished("stop")) for _ in range(20)]
        async with outbox.delivering():
            await outbox.emptied(but=20)
    assert sorted(told.body["data"]["id"] for told in sink.taken) == sorted(ended)
