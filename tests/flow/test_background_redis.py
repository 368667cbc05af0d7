"""Responses in the background over a Redis that is killed, and back with its append-only file."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.fakes.redis_server import RedisServer
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.fakes.webhook_sink import beside
from tests.patience import PATIENCE_S, waited

pytestmark = pytest.mark.redis
MODEL = "slow-100x20"
SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()


def test_what_runs_and_what_waits_is_there_after_a_restart_and_is_told_whole(
    tmp_path: Path,
) -> None:
    body = {"model": MODEL, "input": "go", "background": True}
    agents = {"agents": {MODEL: upstream_agent(MODEL)}}
    with (
        RedisServer(tcp=True, append_only=True) as redis,
        beside() as sink,
        httpx.Client(timeout=3 * PATIENCE_S) as http,
    ):
        hooks = json.dumps([{"url": sink.url, "secret": SECRET}])
        settings = {"slots": "1", "response_webhooks": hooks}
        with System(tmp_path, agents, settings=settings, redis=redis) as system:
            url = f"{system.base_url()}/responses"
            with http.stream("POST", url, json={**body, "stream": True}) as reply:
                chunks = reply.iter_raw()
                data = next(chunks)
                while data.count(b"output_text.delta") < 10:
                    data += next(chunks)
                waiting = http.post(url, json=body).json()["id"]
                redis.kill()
                redis.restart()
                data += b"".join(chunks)
            other = events(http.get(f"{url}/{waiting}?stream=true").content)
            ended = http.get(f"{url}/{waiting}").json()
            waited(lambda: len(sink.taken) >= 2)
    for told in (events(data), other):
        assert [event["sequence_number"] for event in told] == [*range(len(told))]
        deltas = [each["delta"] for each in told if each["type"] == "response.output_text.delta"]
        assert "".join(deltas) == words(100)
        assert told[-1]["type"] == "response.completed"
    assert ended == other[-1]["response"]
    heard = {each.body["data"]["id"]: each.body["type"] for each in sink.taken}
    first = events(data)[0]["response"]["id"]
    assert heard == {first: "response.completed", waiting: "response.completed"}


def events(data: bytes) -> list[Any]:
    return [orjson.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]
