"""Runs of agents with tools of their own, as clients get them: silences, refusals, failures."""

from typing import Any

import orjson
import pytest

from tests.api.fake_answer import Reply
from tests.api.test_responses_route import Asked
from tests.api.test_stream import streaming
from trunkline_shared.events import (
    ActivityArgs,
    ActivityEnd,
    ActivityStart,
    Attempt,
    Failed,
    Finished,
    RunEvent,
    Step,
    TextDelta,
)

START = ActivityStart(0, "a1", "read", "files")
CLASH = Failed("invalid_request", "The agent has a tool called 'read' itself.", "tools")
HEARTBEAT = b": hb\n\n"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [Reply, Asked])
async def test_a_name_that_the_agent_has_itself_is_400_whatever_was_done(
    kind: type[Reply], stream: bool
) -> None:
    reply = await kind([Attempt(1)], [Step()], [CLASH]).ask(stream=stream)
    assert reply.status == 400
    assert (reply.error["param"], reply.error["type"]) == ("tools", "invalid_request_error")


@pytest.mark.parametrize("kind", [Reply, Asked])
async def test_an_answer_that_fits_no_format_is_502_and_later_the_streams_end(
    kind: type[Reply],
) -> None:
    failed = Failed("invalid_output", "")
    for stream in (True, False):
        reply = await kind([Attempt(1)], [failed]).ask(stream=stream)
        assert (reply.status, reply.error["code"]) == (502, "invalid_output")
        assert reply.headers[b"x-should-retry"] == b"false"
    reply = await kind([Attempt(1)], [TextDelta("{")], [failed]).ask()
    assert reply.status == 200 and reply.is_whole
    assert b"does not fit the format" in reply.body and b"[DONE]" not in reply.body


@pytest.mark.parametrize(
    ("kind", "asked", "param"),
    [
        (Reply, {"response_format": {"type": "json_object"}}, "response_format"),
        (Asked, {"text": {"format": {"type": "json_object"}}}, "text.format"),
    ],
)
async def test_what_the_agent_cannot_do_never_becomes_a_run(
    kind: type[Reply], asked: dict[str, Any], param: str
) -> None:
    reply = await kind([Finished("stop")]).ask(**asked)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert reply.follow.asked == []


@pytest.mark.parametrize("kind", [Reply, Asked])
async def test_an_agent_that_only_acts_has_an_answer_all_the_same(kind: type[Reply]) -> None:
    script: list[list[RunEvent]] = [[Attempt(1)], [START], [ActivityEnd(0)], [Finished("stop")]]
    for stream in (True, False):
        reply = await kind(*script).ask(stream=stream)
        assert reply.status == 200 and reply.is_whole
    if kind is Reply:
        assert orjson.loads(reply.body)["choices"][0]["message"]["content"] == ""


async def test_a_client_hears_now_and_then_of_work_that_it_is_not_shown() -> None:
    async with streaming() as bench:
        await bench.begin()
        bench.push(4, START)
        bench.push(5, ActivityArgs(0, "{}"))
        await bench.waits()
        assert bench.client.body == HEARTBEAT
        bench.push(6, Finished("stop"))
        await bench.end()
    async with streaming(heartbeat_s=0.001) as bench:
        await bench.begin()
        for seq in range(4, 500):
            bench.push(seq, ActivityArgs(0, "x"))
        assert bench.client.body.count(HEARTBEAT) >= 2
