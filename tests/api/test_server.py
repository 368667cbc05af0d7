import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.api.fake_gateway import application
from tests.api.uvicorn_server import Serving
from trunkline_api.app import Application
from trunkline_api.errors import Send
from trunkline_api.exchange import Receive, Scope
from trunkline_api.server import bind, choose_host, serve_api
from trunkline_api.settings import ApiSettings
from trunkline_shared.errors import RedisUnavailable, StartError


class SlowChat:
    """Streams until `finish`, or until the server closes; notes in which order things happened."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.saw: list[str] = []
        self.app: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        shutdown = self.app.gateway.shutdown
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first ", "more_body": True})
        self.began.set()
        watched = {
            asyncio.create_task(_set(self.finish), name="finish"),
            asyncio.create_task(_set(shutdown.closing), name="closing"),
            asyncio.create_task(_next(receive), name="disconnect"),
        }
        done, rest = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        drained = "draining" if shutdown.draining.is_set() else "serving"
        self.saw += [drained, *(task.get_name() for task in done)]
        self.ended.set()
        await send({"type": "http.response.body", "body": b"last"})


async def _set(event: asyncio.Event) -> None:
    await event.wait()


async def _next(receive: Receive) -> None:
    await receive()


def slow(grace_s: float = 30) -> tuple[SlowChat, Application]:
    chat = SlowChat()
    chat.app = application(chat, grace_s=grace_s)
    return chat, chat.app


async def post(url: str) -> str:
    async with httpx.AsyncClient(timeout=60) as http:
        return (await http.post(f"{url}/v1/chat/completions")).text


async def test_a_stream_goes_on_while_the_process_drains_and_new_ones_are_not_taken() -> None:
    chat, app = slow()
    serving = Serving(app)
    async with serving as url:
        answer = asyncio.create_task(post(url))
        await chat.began.wait()
        serving.stop.set()
        await app.gateway.shutdown.draining.wait()
        await refused(url)
        assert not answer.done()
        chat.finish.set()
        assert await answer == "first last"
    assert chat.saw == ["draining", "finish"]
    assert not app.gateway.shutdown.closing.is_set()


async def refused(url: str) -> None:
    """Returns when nobody listens there any more."""
    port = int(url.rpartition(":")[2])
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.close()


async def test_what_streams_when_the_grace_is_over_is_told_and_may_still_write() -> None:
    chat, app = slow(grace_s=0.05)
    serving = Serving(app)
    async with serving as url:
        answer = asyncio.create_task(post(url))
        await chat.began.wait()
        serving.stop.set()
        assert await answer == "first last"
    assert chat.saw == ["draining", "closing"]


async def test_a_client_that_leaves_is_a_disconnect_while_the_process_serves() -> None:
    chat, app = slow()
    async with Serving(app) as url:
        answer = asyncio.create_task(post(url))
        await chat.began.wait()
        answer.cancel()
        await chat.ended.wait()
    assert chat.saw == ["serving", "disconnect"]


@pytest.fixture
def ends_quietly() -> Iterator[None]:
    """The handlers of the test runner are back after every test."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("ends_quietly")
async def test_a_second_signal_skips_the_grace(number: signal.Signals) -> None:
    chat, app = slow(grace_s=600)
    sockets = bind("127.0.0.1", 0)
    started = asyncio.Event()
    server = asyncio.create_task(serve_api(app, sockets=sockets, started=started))
    await started.wait()
    answer = asyncio.create_task(post(f"http://127.0.0.1:{sockets[0].getsockname()[1]}"))
    await chat.began.wait()
    os.kill(os.getpid(), number)
    await app.gateway.shutdown.draining.wait()
    os.kill(os.getpid(), number)
    assert await answer == "first last"
    await server
    assert chat.saw == ["draining", "closing"]


class Recorded:
    def __init__(self, name: str, log: list[str], problem: Exception | None = None) -> None:
        self.name = name
        self.log = log
        self.problem = problem

    async def start(self) -> None:
        self.log.append(f"start {self.name}")
        if self.problem is not None:
            raise self.problem

    async def aclose(self) -> None:
        self.log.append(f"close {self.name}")


async def test_resources_live_around_the_serving_in_order() -> None:
    log: list[str] = []
    app = application(resources=[Recorded("hub", log), Recorded("runs", log)])
    async with Serving(app):
        assert log == ["start hub", "start runs"]
    assert log == ["start hub", "start runs", "close runs", "close hub"]


async def test_a_resource_that_cannot_start_is_the_error_and_all_are_closed() -> None:
    log: list[str] = []
    broken = Recorded("runs", log, RedisUnavailable("away"))
    app = application(resources=[Recorded("hub", log), broken, Recorded("never", log)])
    with pytest.raises(RedisUnavailable, match="away"):
        async with Serving(app):
            pass
    assert log == ["start hub", "start runs", "close runs", "close hub"]


async def test_mounted_elsewhere_the_lifespan_does_the_same() -> None:
    log: list[str] = []
    app = application(resources=[Recorded("hub", log)])
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await app.asgi({"type": "lifespan", "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert log == ["start hub", "close hub"]


def test_a_port_in_use_is_one_line_with_the_way_out() -> None:
    [taken] = bind("127.0.0.1", 0)
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port} on 127\.0\.0\.1 is in use.*--port"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_one_line(host: str) -> None:
    with pytest.raises(StartError, match="cannot listen on") as caught:
        bind(host, 0)
    assert "\n" not in str(caught.value)


def test_localhost_binds_where_there_is_an_address() -> None:
    bound = bind("localhost", 0)
    try:
        assert {listener.getsockname()[0] for listener in bound} <= {"127.0.0.1", "::1"}
        assert len({listener.getsockname()[1] for listener in bound}) == 1
        assert all(listener.family in (socket.AF_INET, socket.AF_INET6) for listener in bound)
    finally:
        for listener in bound:
            listener.close()


@pytest.mark.parametrize(
    ("host", "has_keys", "explicit", "chosen", "warned"),
    [
        ("127.0.0.1", False, False, "127.0.0.1", False),
        ("0.0.0.0", False, False, "127.0.0.1", False),
        ("0.0.0.0", False, True, "0.0.0.0", True),
        ("0.0.0.0", True, True, "0.0.0.0", False),
        ("0.0.0.0", True, False, "0.0.0.0", False),
        ("localhost", False, True, "localhost", False),
        ("::1", False, True, "::1", False),
        ("::", False, True, "::", True),
        ("example.org", False, True, "example.org", True),
    ],
)
def test_without_a_key_only_this_machine_may_come_in_unless_told_otherwise(
    host: str,
    has_keys: bool,
    explicit: bool,
    chosen: str,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = ApiSettings(host=host)
    assert choose_host(settings, has_keys=has_keys, host_explicit=explicit) == chosen
    levels = {record.levelno for record in caplog.records}
    assert (logging.WARNING in levels) == warned
