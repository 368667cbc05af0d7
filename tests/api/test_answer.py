import asyncio
from typing import Any

import orjson
import pytest

from tests.api.fake_answer import SOON_S, Reply
from trunkline_api.hub import ReaderClosed
from trunkline_api.relay import RunLost
from trunkline_shared.errors import RedisUnavailable, Refused
from trunkline_shared.events import (
    Attempt,
    Failed,
    Finished,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)

TEXTS: list[Any] = [[Attempt(1)], [TextDelta("Hel")], [TextDelta("lo")], [Finished("stop")]]


def text_of(body: bytes) -> str:
    chunks = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    choices = [orjson.loads(chunk).get("choices") or [{}] for chunk in chunks]
    return "".join(choice[0].get("delta", {}).get("content") or "" for choice in choices)


async def test_a_stream_is_its_chunks_and_done() -> None:
    reply = await Reply(*TEXTS).ask()
    assert reply.status == 200
    assert reply.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert reply.headers[b"x-accel-buffering"] == b"no"
    assert b"x-request-id" in reply.headers
    assert text_of(reply.body) == "Hello"
    assert reply.body.endswith(b"data: [DONE]\n\n") and reply.is_whole
    assert reply.follow.left_early == [False]


async def test_a_whole_reply_is_the_same_events_folded() -> None:
    dropped = [[TextDelta("old")], [Attempt(2, drop_from=3)]]
    reply = await Reply(TEXTS[0], *dropped, None, *TEXTS[1:]).ask(stream=False)
    assert reply.status == 200
    completion = orjson.loads(reply.body)
    assert completion["choices"][0]["message"]["content"] == "Hello"
    assert int(reply.headers[b"content-length"]) == len(reply.body)


async def test_what_waits_together_leaves_in_one_message() -> None:
    reply = await Reply([Attempt(1), TextDelta("a"), TextDelta("b")], [Finished("stop")]).ask()
    assert [message["type"] for message in reply.sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.body",
    ]


async def test_neither_creation_nor_attempt_sends_the_headers() -> None:
    failed = Failed("upstream_error", "broke")
    reply = await Reply([Attempt(1)], [Attempt(2)], [failed], headers_after_s=30.0).ask()
    assert reply.status == 502


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_first_output_is_a_status(stream: bool) -> None:
    failed = Failed("upstream_rate_limited", "slow down", retry_after_s=7.0)
    reply = await Reply([Attempt(1)], [failed]).ask(stream=stream)
    assert reply.status == 429
    assert reply.error["code"] == "upstream_rate_limited"
    assert reply.headers[b"retry-after"] == b"7"
    assert reply.follow.left_early == [False]


async def test_headers_go_after_their_time_and_a_failure_is_then_a_chunk() -> None:
    reply = await Reply([Attempt(1)], None, [Failed("queue_timeout", "late")]).ask()
    assert reply.status == 200
    assert b'"code":"queue_timeout"' in reply.body
    assert b"[DONE]" not in reply.body and reply.is_whole


async def test_headers_wait_no_longer_than_they_may() -> None:
    reply = await Reply(None, *TEXTS, headers_after_s=0.03, heartbeat_s=15.0).ask()
    assert reply.follow.relay.waited[0] <= 0.03
    assert reply.follow.relay.waited[1] == 15.0


async def test_a_relay_that_returns_early_sends_no_headers() -> None:
    failed = Failed("queue_timeout", "late")
    reply = await Reply(None, [failed], headers_after_s=15.0).ask()
    assert reply.status == 503


async def test_a_failure_after_text_is_a_chunk_and_no_done() -> None:
    reply = await Reply(TEXTS[1], [Failed("worker_lost", "gone")]).ask()
    assert reply.status == 200 and text_of(reply.body) == "Hel"
    assert reply.body.count(b'"error"') == 1
    assert b"[DONE]" not in reply.body and reply.is_whole


@pytest.mark.parametrize("error", [RunLost("x"), RedisUnavailable("x")])
async def test_a_stream_that_cannot_go_on_says_so(error: Exception) -> None:
    reply = await Reply(TEXTS[1], error).ask()
    code = b"run_lost" if isinstance(error, RunLost) else b"redis_unavailable"
    assert b'"code":"' + code + b'"' in reply.body
    assert b"[DONE]" not in reply.body and reply.is_whole
    assert reply.follow.left_early == [True]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("error", "status"), [(RunLost("x"), 500), (RedisUnavailable("x"), 503)])
async def test_what_cannot_be_followed_before_its_headers_is_a_status(
    error: Exception, status: int, stream: bool
) -> None:
    reply = await Reply([Attempt(1)], error).ask(stream=stream)
    assert reply.status == status and reply.error["message"]


async def test_silence_is_bridged_by_comments() -> None:
    reply = await Reply(TEXTS[1], None, None, [Finished("stop")]).ask()
    assert reply.body.count(b": hb\n\n") == 2
    assert not any(line.startswith((b"id:", b"retry:")) for line in reply.body.splitlines())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_closing_process_tells_those_without_headers_by_a_status(stream: bool) -> None:
    reply = await Reply([Attempt(1)], ReaderClosed(shutting_down=True)).ask(stream=stream)
    assert reply.status == 503
    assert reply.error["code"] == "api_draining"
    assert b"retry-after" in reply.headers


async def test_a_closing_process_tells_those_with_headers_by_a_chunk() -> None:
    reply = await Reply(TEXTS[1], ReaderClosed(shutting_down=True)).ask()
    assert reply.status == 200
    assert b'"code":"api_draining"' in reply.body
    assert b"[DONE]" not in reply.body and reply.is_whole


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_left_is_told_nothing(stream: bool) -> None:
    reply = await Reply([Attempt(1)], ReaderClosed(shutting_down=False)).ask(stream=stream)
    assert reply.sent == []
    assert reply.follow.left_early == [True]


async def test_a_call_that_began_before_the_headers_left_is_not_lost() -> None:
    call: list[Any] = [[ToolCallStart(0, "c", "f")], None, [ToolArgsDelta(0, "{}")]]
    reply = await Reply(*call, [Finished("tool_calls")]).ask()
    assert b'"name":"f"' in reply.body


async def test_a_refusal_is_a_status_with_the_time_to_wait() -> None:
    reply = await Reply(refusal=Refused("queue_full", "Full.", 2.5)).ask()
    assert (reply.status, reply.error["code"]) == (429, "queue_full")
    assert reply.headers[b"retry-after"] == b"3"
    assert reply.headers[b"retry-after-ms"] == b"2500"


async def test_a_queue_that_is_away_is_a_status() -> None:
    reply = await Reply(refusal=RedisUnavailable("x")).ask()
    assert (reply.status, reply.error["code"]) == (503, "redis_unavailable")


async def test_an_unknown_model_is_404_and_a_broken_body_400() -> None:
    assert (await Reply().ask(model="nobody")).status == 404
    assert (await Reply().ask(body=b"{")).status == 400


async def test_a_body_that_is_too_large_is_413_and_one_that_does_not_come_408() -> None:
    assert (await Reply(max_body_bytes=10).ask()).status == 413

    reply = Reply(body_timeout_s=SOON_S)
    sent: list[dict[str, Any]] = []

    async def receive() -> None:
        await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    await reply.app(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_a_bug_before_the_headers_is_500_with_the_envelope() -> None:
    events: list[RunEvent] = [TextDelta("a")]
    reply = await Reply(ZeroDivisionError("bug"), events).ask()
    assert reply.status == 500 and reply.error["code"] == "server_error"
    assert reply.follow.left_early == [True]


async def test_a_bug_after_the_headers_never_looks_like_a_whole_reply() -> None:
    reply = await Reply(TEXTS[1], ZeroDivisionError("bug")).ask()
    assert b"[DONE]" not in reply.body and not reply.is_whole
    assert reply.follow.left_early == [True]
