"""Responses in the background while API processes end under their readers."""

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.fakes.system import System, upstream_agent
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.redis
MODEL, LONG = "slow-150x20", "slow-300x20"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("processes")
    agents = {model: upstream_agent(model) for model in (MODEL, LONG)}
    with System(directory, {"agents": agents}, apis=4) as system:
        yield system


def events(data: bytes) -> list[bytes]:
    return [block for block in data.split(b"\n\n") if block.startswith(b"event: ")]


def value(block: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(block.split(b"\ndata: ")[1])
    return found


@pytest.mark.parametrize(("api", "end"), [(1, signal.SIGKILL), (2, signal.SIGTERM)])
def test_a_stream_goes_on_elsewhere_when_its_api_process_ends(
    system: System, api: int, end: signal.Signals
) -> None:
    body = {"model": MODEL, "input": "go", "background": True, "stream": True}
    with httpx.Client(timeout=PATIENCE_S) as http:
        with http.stream("POST", f"{system.base_url(api)}/responses", json=body) as reply:
            chunks = reply.iter_raw()
            data = b""
            while len(events(data)) < 5:
                data += next(chunks)
            system.kill_api(api, end)
            data += b"".join(_until_cut(chunks))
        told = events(data)
        if end == signal.SIGTERM:
            failure = value(told.pop())
            assert (failure["type"], failure["code"]) == ("error", "api_draining")
            assert failure["sequence_number"] == value(told[-1])["sequence_number"]
        else:
            told.pop()  # it may be half
        url = f"{system.base_url()}/responses/{value(told[0])['response']['id']}?stream=true"
        last = value(told[-1])["sequence_number"]
        told += events(http.get(f"{url}&starting_after={last}").content)
        assert events(http.get(url).content) == told
    assert value(told[-1])["response"]["status"] == "completed"


def test_a_run_in_the_foreground_goes_on_for_others_when_its_api_process_shuts_down(
    system: System,
) -> None:
    body = {"model": LONG, "input": "go", "stream": True}
    with (
        httpx.Client(timeout=PATIENCE_S) as http,
        http.stream("POST", f"{system.base_url(3)}/responses", json=body) as reply,
    ):
        chunks = reply.iter_raw()
        data = b""
        while not events(data):
            data += next(chunks)
        response = value(events(data)[0])["response"]["id"]
        url = f"{system.base_url()}/responses/{response}?stream=true"
        with http.stream("GET", url) as other:
            system.kill_api(3, signal.SIGTERM)
            told = events(other.read())
        own = events(data + b"".join(_until_cut(chunks)))
        failure = value(own.pop())
        assert (failure["type"], failure["code"]) == ("error", "api_draining")
        own += events(http.get(f"{url}&starting_after={failure['sequence_number']}").content)
    assert value(told[-1])["response"]["status"] == "completed"
    assert own == told


def _until_cut(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except httpx.TransportError:
        return
