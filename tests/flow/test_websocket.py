"""Responses over a WebSocket, from a raw client to the workers and back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from tests.flow.stage import Stage
from tests.flow.websocket_client import Socket, opened, text_of
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.redis


@pytest.fixture
async def stage(redis_url: str) -> AsyncIterator[Stage]:
    async with Stage(redis_url) as stage:
        yield stage


@pytest.fixture
async def socket(stage: Stage) -> AsyncIterator[Socket]:
    async with opened(stage.serving.url) as socket:
        yield socket


async def test_a_response_is_told_as_its_stream_is(stage: Stage, socket: Socket) -> None:
    await socket.create("one two")
    told = await socket.response()
    body = {"model": "echo", "input": "one two", "store": False, "stream": True}
    stream = (await stage.http.post("/v1/responses", json=body)).text
    events = [orjson.loads(block.split("\ndata: ")[1]) for block in stream.split("\n\n")[:-1]]
    assert [event["type"] for event in told] == [event["type"] for event in events]
    assert [event["sequence_number"] for event in told] == list(range(len(events)))
    assert all(event.keys() == other.keys() for event, other in zip(told, events, strict=True))
    assert text_of(told[-1]) == text_of(events[-1]) == "one two"


async def test_responses_follow_each_other_on_one_socket(socket: Socket) -> None:
    await socket.create("one")
    await socket.create("two")  # waits for the first
    first, second = await socket.response(), await socket.response()
    assert [text_of(first[-1]), text_of(second[-1])] == ["one", "two"]
    assert {event.get("stream_id") for event in (*first, *second)} == {None}


async def test_lanes_run_at_the_same_time_and_say_whose_each_event_is(
    stage: Stage, socket: Socket
) -> None:
    await socket.create(model="held", stream_id="slow")
    assert (await socket.event())["stream_id"] == "slow"
    await socket.create("quick", stream_id="a.b-c_1")
    events = []
    while not events or events[-1]["type"] != "response.completed":
        events.append(await socket.event())
    assert (events[-1]["stream_id"], text_of(events[-1])) == ("a.b-c_1", "quick")
    stage.held.go.set()
    last = (await socket.response())[-1]
    assert (last["stream_id"], text_of(last)) == ("slow", "first last")


async def test_a_lane_follows_its_own_response_although_nobody_stored_it(
    stage: Stage, socket: Socket
) -> None:
    first = await socket.asked("one")
    previous = first["response"]["id"]
    assert (await stage.http.get(f"/v1/responses/{previous}")).status_code == 404
    second = await socket.asked("two", previous_response_id=previous)
    assert second["response"]["previous_response_id"] == previous
    stored = await socket.asked("three", previous_response_id=second["response"]["id"], store=True)
    found = await stage.http.get(f"/v1/responses/{stored['response']['id']}/input_items")
    said = [item["content"][0]["text"] for item in found.json()["data"]]
    assert said == ["three", "two", "two", "one", "one"]
    # What nobody else knows went into the one that is stored, which anybody can follow.
    body = {"model": "echo", "input": "on", "previous_response_id": stored["response"]["id"]}
    assert (await stage.http.post("/v1/responses", json=body)).status_code == 200


async def test_a_lane_forgets_what_came_before_its_last_response(
    stage: Stage, socket: Socket
) -> None:
    old = (await socket.asked("one", stream_id="main"))["response"]["id"]
    fork = await socket.asked("two", stream_id="fork", previous_response_id=old)
    assert fork["type"] == "response.completed"
    await socket.asked("three", stream_id="main")
    lost = await socket.asked("four", stream_id="main", previous_response_id=old)
    assert lost["status"] == 400
    assert lost["stream_id"] == "main"
    assert lost["error"]["code"] == "previous_response_not_found"
    async with opened(stage.serving.url) as other:
        there = fork["response"]["id"]
        assert (await other.asked(previous_response_id=there))["type"] == "error"


async def test_a_warm_up_answers_nothing_and_can_be_followed(stage: Stage, socket: Socket) -> None:
    await socket.create("remember", model="held", generate=False, store=True)
    events = await socket.response()
    kinds = [event["type"] for event in events]
    assert kinds == ["response.created", "response.in_progress", "response.completed"]
    response = events[-1]["response"]
    assert (response["output"], response["store"]) == ([], False)
    assert stage.held.began == []
    last = await socket.asked("now", previous_response_id=response["id"], store=True)
    found = await stage.http.get(f"/v1/responses/{last['response']['id']}/input_items")
    assert [item["content"][0]["text"] for item in found.json()["data"]] == ["now", "remember"]


async def test_codex_warms_up_without_input_and_says_what_it_has_read(socket: Socket) -> None:
    warm = (await socket.asked([], generate=False, stream=True, tools=[]))["response"]["id"]
    await socket.connection.send(f'{{"type":"response.processed","response_id":"{warm}"}}')
    empty = await socket.asked([], previous_response_id=warm)
    assert empty["error"]["param"] == "input"
    assert text_of(await socket.asked("now", previous_response_id=warm)) == "now"


async def test_a_conversation_is_answered_without_more_input(stage: Stage, socket: Socket) -> None:
    items = [{"role": "user", "content": "one two"}]
    begun = (await stage.http.post("/v1/conversations", json={"items": items})).json()["id"]
    assert text_of(await socket.asked([], conversation=begun)) == "one two"


async def test_a_turn_of_a_conversation_cannot_be_a_warm_up(socket: Socket) -> None:
    conversation = "conv_0c5a4f4e-7b0b-4f7b-a1de-3d1a5e7f1c11"
    for given in ([], "x"):
        error = (await socket.asked(given, generate=False, conversation=conversation))["error"]
        assert error["param"] == "generate"


GARBAGE: list[tuple[str | bytes, str | None, str]] = [
    ("{", None, "invalid_json"),
    ("[]", None, "invalid_type"),
    (b"{}", None, "invalid_type"),
    ("{}", "type", "invalid_value"),
    ('{"type":"session.update"}', "type", "invalid_value"),
    ('{"type":"response.create","stream_id":""}', "stream_id", "invalid_stream_id"),
    ('{"type":"response.create","stream_id":7}', "stream_id", "invalid_stream_id"),
    ('{"type":"response.create","model":"echo"}', "input", "missing_required_parameter"),
    ('{"type":"response.create","model":"no","input":"x"}', "model", "model_not_found"),
    (
        '{"type":"response.steer","input":"x"}',
        "previous_response_id",
        "missing_required_parameter",
    ),
]


async def test_what_is_wrong_with_a_message_is_told_and_the_socket_goes_on(
    socket: Socket,
) -> None:
    for message, param, code in GARBAGE:
        await socket.connection.send(message)
        event = await socket.event()
        error = event["error"]
        assert error.keys() == {"type", "code", "message", "param"}
        assert (event["type"], error["param"], error["code"]) == ("error", param, code)
        assert event["status"] == (404 if code == "model_not_found" else 400)
    assert text_of(await socket.asked("still here")) == "still here"


@pytest.mark.parametrize(
    ("more", "param"), [({"background": True}, "background"), ({"stream": False}, "stream")]
)
async def test_what_only_a_post_can_ask_is_refused(
    socket: Socket, more: dict[str, Any], param: str
) -> None:
    event = await socket.asked(stream_id="lane", **more)
    assert (event["status"], event["stream_id"]) == (400, "lane")
    assert (event["error"]["param"], event["error"]["code"]) == (param, "unsupported_parameter")


async def test_some_clients_say_that_they_want_a_stream(socket: Socket) -> None:
    event = await socket.asked(
        stream=True, background=False, stream_options={"include_obfuscation": False}
    )
    assert event["type"] == "response.completed"


async def test_no_agent_can_be_steered(stage: Stage, socket: Socket) -> None:
    await socket.create(model="held")
    created = (await socket.event())["response"]["id"]
    steer = {"type": "response.steer", "input": "left", "previous_response_id": created}
    await socket.connection.send(orjson.dumps(steer).decode())
    event = await socket.event()
    while event["type"] != "response.steer.failed":
        event = await socket.event()
    assert event["error"]["code"] == "steering_not_supported"
    assert event["steer"] == {"input": "left", "previous_response_id": created}
    stage.held.go.set()
    assert (await socket.response())[-1]["type"] == "response.completed"


async def test_who_closes_the_socket_ends_all_its_runs(stage: Stage) -> None:
    async with opened(stage.serving.url) as socket:
        for lane in ("a", "b"):
            await socket.create(model="held", stream_id=lane)
        await socket.create(model="held", stream_id="a")
        await until(lambda: len(stage.held.began) == 2)
    await until(lambda: len(stage.held.cut) == 2)
    assert sorted(stage.held.cut) == sorted(stage.held.began)


async def test_a_run_that_is_refused_is_an_error_with_the_time_to_wait(stage: Stage) -> None:
    await stage.stop_worker(0)
    await stage.redis.delete(stage.keys.workers("default"))
    async with opened(stage.serving.url) as socket:
        event = await socket.asked(stream_id="s")
    assert (event["status"], event["stream_id"]) == (503, "s")
    assert event["error"]["code"] == "agent_unavailable"
    assert int(event["error"]["headers"]["retry-after-ms"]) > 0


async def test_a_connection_that_is_lost_ends_its_run(stage: Stage) -> None:
    async with opened(stage.serving.url) as socket:
        await socket.create(model="held")
        await until(lambda: stage.held.began)
        socket.connection.transport.abort()
        await until(lambda: stage.held.cut)


async def test_when_the_server_ends_responses_end_first(redis_url: str) -> None:
    async with Stage(redis_url) as stage, opened(stage.serving.url) as socket:
        await socket.create(model="held")
        await until(lambda: stage.held.began)
        await socket.create("waits")
        stage.serving.stop.set()
        event = await socket.event()
        while event["type"] != "error":
            event = await socket.event()
        assert (event["status"], event["error"]["code"]) == (503, "api_draining")
        stage.held.go.set()
        assert text_of((await socket.response())[-1]) == "first last"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.event()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


async def test_what_does_not_end_in_time_is_told_so(redis_url: str) -> None:
    async with (
        Stage(redis_url, api={"grace_s": 0.3}) as stage,
        opened(stage.serving.url) as socket,
        opened(stage.serving.url) as idle,
    ):
        await socket.create(model="held")
        await until(lambda: stage.held.began)
        stage.serving.stop.set()
        last = (await socket.response())[-1]
        assert last["type"] == "response.failed"
        for each in (socket, idle):
            async with asyncio.timeout(PATIENCE_S):
                await each.connection.wait_closed()
            assert each.connection.close_code == 1012


async def test_an_old_socket_takes_nothing_new_and_ends(redis_url: str) -> None:
    async with (
        Stage(redis_url, api={"websocket_life_s": 0.5}) as stage,
        opened(stage.serving.url) as socket,
    ):
        await socket.create(model="held", stream_id="a")
        await socket.create("waits", stream_id="a")
        event = await socket.event()
        while event["type"] != "error":
            event = await socket.event()
        assert event["stream_id"] == "a"
        assert event["error"]["code"] == "websocket_connection_limit_reached"
        stage.held.go.set()
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                event = await socket.event()
        assert (event["type"], event["status"]) == ("error", 400)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
