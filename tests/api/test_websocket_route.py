"""Who is let in to a WebSocket, and what is said and logged of it."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from websockets.exceptions import InvalidStatus

from tests.api.fake_answer import FakeFollow
from tests.api.fake_gateway import CONFIG, FakeBirths, FakeHub, FakeRuns, fake_targets
from tests.api.uvicorn_server import Serving
from tests.flow.websocket_client import Socket, opened
from trunkline_api.answer import Answer
from trunkline_api.app import RESPONSES_PATH, Application, create_app
from trunkline_api.auth import ApiKeys
from trunkline_api.compactions import Compactions
from trunkline_api.gateway import Gateway
from trunkline_api.routes.responses import responses_question
from trunkline_api.routes.websocket import ResponsesWebSocket
from trunkline_api.settings import ApiSettings
from trunkline_api.unstored import UnstoredResponses
from trunkline_shared.events import Attempt, Failed, Finished, RunEvent, TextDelta
from trunkline_shared.keys import Keys
from trunkline_shared.vault import Vault

SAID: list[list[RunEvent]] = [[Attempt(1), TextDelta("hi")], [Finished("stop")]]


def app(*script: Any, follow: FakeFollow | None = None, **settings: Any) -> Application:
    """The WebSocket without a queue: its runs say what the script says."""
    read = ApiSettings(**settings)
    targets = fake_targets(CONFIG)
    keys = ApiKeys.from_settings(read)
    gateway = Gateway(read, CONFIG, keys, FakeHub(), FakeRuns(), targets, FakeBirths())
    nowhere = cast(Any, SimpleNamespace())
    known = partial(UnstoredResponses, nowhere, Keys("t"), Vault(None), max_bytes=1000)
    told = cast(Any, follow or FakeFollow(script or SAID, None))
    compactions = Compactions(Vault(None))
    answer = Answer(gateway, told, targets, responses_question(known(), compactions))
    websocket = ResponsesWebSocket(RESPONSES_PATH, gateway, answer, told, known, compactions)
    return create_app(gateway, {RESPONSES_PATH: answer}, websocket=websocket)


@asynccontextmanager
async def talking(*script: Any, key: str = "", **settings: Any) -> AsyncIterator[Socket]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    served = Serving(app(*script, **settings))
    async with served as url, opened(url, **headers) as socket:
        yield socket


async def refused(url: str, path: str = "/v1/responses", **headers: str) -> tuple[int, Any, Any]:
    """Status, error and headers of a handshake that fails."""
    with pytest.raises(InvalidStatus) as caught:
        async with opened(url, path=path, **headers):
            pass
    reply = caught.value.response
    assert reply.headers["x-request-id"].startswith("req_")
    (error,) = orjson.loads(reply.body).values()
    assert error.keys() == {"message", "type", "param", "code"}
    return reply.status_code, error, reply.headers


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_without_a_key_nobody_is_let_in(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with Serving(app(api_key=("right",))) as url:
        status, error, told = await refused(url, **headers)
    assert (status, error["code"]) == (401, "invalid_api_key")
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
    assert told["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["authorization", "x_session_api_key"])
async def test_a_key_opens_it_in_either_header(header: str) -> None:
    value = "right" if "session" in header else "Bearer right"
    async with (
        Serving(app(api_key=("right",))) as url,
        opened(url, **{header: value}) as socket,
    ):
        assert (await socket.asked())["type"] == "response.completed"
        response = socket.connection.response
        assert response is not None
        assert response.headers["x-request-id"].startswith("req_")


async def test_a_key_is_looked_at_for_each_response() -> None:
    application = app(api_key=("right",))
    async with (
        Serving(application) as url,
        opened(url, authorization="Bearer right") as socket,
    ):
        application.gateway.keys.known = ()
        application.gateway.keys.closed = True
        event = await socket.asked(stream_id="s")
    assert (event["status"], event["error"]["code"]) == (401, "invalid_api_key")


async def test_a_page_of_an_origin_that_nobody_named_is_refused() -> None:
    async with Serving(app(cors_origins=("https://mine.example",))) as url:
        status, error, _ = await refused(url, origin="https://foreign.example")
        assert (status, error["code"]) == (403, "origin_not_allowed")
        async with opened(url, origin="https://mine.example") as socket:
            assert (await socket.asked())["type"] == "response.completed"


async def test_all_origins_may_be_allowed() -> None:
    async with Serving(app(cors_origins=("*",))) as url, opened(url, origin="null"):
        pass


async def test_no_other_path_speaks_it() -> None:
    async with Serving(app()) as url:
        status, error, _ = await refused(url, "/v1/chat/completions")
    assert (status, error["code"]) == (404, "unknown_url")


async def test_what_is_too_large_is_told_and_what_is_far_too_large_ends_the_socket() -> None:
    async with talking(*SAID, max_body_bytes=400) as socket:
        event = await socket.asked("x" * 400)
        assert (event["status"], event["error"]["code"]) == (413, "request_too_large")
        assert (await socket.asked("x"))["type"] == "response.completed"
        await socket.connection.send("x" * 801)
        await socket.connection.wait_closed()
        assert socket.connection.close_code == 1009


async def test_a_run_that_fails_at_once_is_an_error_and_later_a_failed_response() -> None:
    failed = Failed("upstream_error", "The provider failed.")
    async with talking([Attempt(1), failed]) as socket:
        event = await socket.asked()
        assert (event["type"], event["status"]) == ("error", 502)
        assert event["error"]["code"] == "upstream_error"
    async with talking([Attempt(1), TextDelta("half")], [failed]) as socket:
        assert (await socket.asked())["type"] == "response.failed"


async def test_a_run_that_breaks_is_an_error_and_the_socket_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with talking(ZeroDivisionError(), *SAID) as socket:
        event = await socket.asked()
        assert (event["status"], event["error"]["code"]) == (500, "server_error")
        assert (await socket.asked())["type"] == "response.completed"
    assert any(record.exc_info for record in caplog.records)


async def test_silence_says_nothing() -> None:
    async with talking([Attempt(1), TextDelta("a")], None, None, [Finished("stop")]) as socket:
        await socket.create()
        events = await socket.response()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_the_socket_and_each_response_is_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trunkline_api")
    async with talking(*SAID, api_key=("secret",), key="secret") as socket:
        await socket.asked(stream_id="main")
        await socket.asked("x", background=True)
    lines = [
        (record.message, cast(Any, record).fields)
        for record in caplog.records
        if record.message in ("websocket", "response")
    ]
    (_, first), (_, second), (last, whole) = lines
    assert last == "websocket"
    assert (whole["status"], whole["responses"], whole["principal"]) == (101, 2, "key-1")
    assert whole["close_code"] == 1000
    assert (first["status"], first["stream_id"], first["agent"]) == (200, "main", "echo")
    assert (second["status"], second["error_code"]) == (400, "unsupported_parameter")
    assert first["socket"] == second["socket"] == whole["request_id"]
    assert first["request_id"] != second["request_id"]
    assert "secret" not in caplog.text
