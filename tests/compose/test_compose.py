"""docker-compose.yml as it stands, built and run in a real engine."""

import asyncio
import os
import re
import signal

import httpx
import pytest

from tests.compose.lab import Lab
from tests.compose.talk import Told, chat, client, stream
from tests.flow.websocket_client import opened, text_of

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

SLOW_WORDS = 100  # of the agent `slow`
FEW_SLOTS = {"TRUNKLINE_SLOTS": "4"}


async def answered(url: str, model: str, prompt: str) -> str:
    """The answer of a server that is coming back; anything but a 5xx on the way is an error."""
    async with client(url).with_options(max_retries=20) as patient:
        answer = await patient.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}]
        )
    return answer.choices[0].message.content or ""


async def test_a_chat_and_a_stream_go_through_the_published_port(lab: Lab) -> None:
    lab.up()
    assert lab.compose("port", "haproxy", "8000").strip() == "127.0.0.1:8000"
    assert "hello compose" in await chat(lab.url, "echo", "hello compose")
    models = await asyncio.to_thread(httpx.get, f"{lab.url}/v1/models")
    assert re.fullmatch(r"req_[0-9a-f]+", models.headers["x-request-id"])  # the API's, kept
    told = await stream(lab.url, "slow", "one two three")
    assert told.finish_reason == "stop"
    assert len(told.text.split()) == SLOW_WORDS
    # Held back by nobody: the words take their time to be said, so they arrive over time.
    assert told.arrivals[-1] - told.arrivals[0] > 2
    async with opened(lab.url) as socket:
        assert text_of(await socket.asked("hello socket")) == "hello socket"


def test_the_api_image_has_no_agent_framework_and_neither_image_is_root(lab: Lab) -> None:
    lab.up()
    absent = "import importlib.util as u; print([m for m in %r if u.find_spec(m)])"
    frameworks = ("aiohttp", "arq", "genai_prices", "pydantic_ai", "openai")
    found = lab.compose("exec", "-T", "api", "python", "-c", absent % (frameworks,))
    assert found.strip() == "[]"
    for service in ("api", "worker"):
        user = lab.compose("exec", "-T", service, "python", "-c", "import os; print(os.getuid())")
        assert user.strip() == "65532"


async def test_both_tiers_scale_without_an_edit(lab: Lab) -> None:
    lab.up(settings=FEW_SLOTS, api=2, worker=3)
    assert len(lab.containers("api")) == 2
    # Two workers have eight slots: ten runs at once need the third.
    tolds = [Told() for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        for told in tolds:
            group.create_task(stream(lab.url, "slow", "on your marks", told))
        for told in tolds:
            await told.begun.wait()
        assert not any(told.ended for told in tolds)
    assert [told.finish_reason for told in tolds] == ["stop"] * 10
    doors = set(re.findall(r" api/(api\d+) ", lab.compose("logs", "--no-log-prefix", "haproxy")))
    assert len(doors) >= 2


async def test_a_worker_killed_in_mid_stream_costs_only_what_it_had_begun_to_say(lab: Lab) -> None:
    lab.up(settings=FEW_SLOTS, api=2, worker=3)
    victim = lab.containers("worker")[0]
    tolds = [Told() for _ in range(10)]
    async with asyncio.TaskGroup() as group:
        for told in tolds:
            group.create_task(stream(lab.url, "slow", "to be or not to be", told))
        for told in tolds:
            await told.begun.wait()
        os.kill(lab.pid(victim), signal.SIGKILL)
    whole = [told for told in tolds if told.finish_reason == "stop"]
    lost = [told for told in tolds if told.error is not None]
    assert len(whole) + len(lost) == len(tolds)
    # With ten runs on three workers of four slots, each of them held at least two.
    assert 2 <= len(lost) <= 4
    assert {told.error.code for told in lost if told.error} == {"worker_lost"}
    assert {len(told.text.split()) for told in whole} == {SLOW_WORDS}
    assert "still here" in await chat(lab.url, "echo", "still here")


async def test_pools_scale_apart(lab: Lab) -> None:
    lab.up(worker=1, api=1)
    async with httpx.AsyncClient(base_url=lab.url, timeout=30) as http:
        body = {"model": "coder", "messages": [{"role": "user", "content": "x"}]}
        nobody = await http.post("/v1/chat/completions", json=body)
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (503, "agent_unavailable")

    lab.up("--profile", "coding", worker=1, worker_coding=2)
    assert (len(lab.containers("worker")), len(lab.containers("worker-coding"))) == (1, 2)
    assert "write a test" in await answered(lab.url, "coder", "write a test")
    assert "hello" in await chat(lab.url, "echo", "hello")
    lab.compose("--profile", "coding", "rm", "-sf", "worker-coding")


async def test_a_client_that_leaves_a_plain_request_frees_its_slot(lab: Lab) -> None:
    # Without HAProxy's help nobody behind it would notice, and the slots would stay taken.
    lab.up(settings={"TRUNKLINE_SLOTS": "1"}, api=1, worker=1)
    async with httpx.AsyncClient(base_url=lab.url, timeout=0.5) as http:
        body = {"model": "slow", "messages": [{"role": "user", "content": "too long"}]}
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=body)
    async with asyncio.timeout(3):  # `slow` would have held it for five
        assert "next" in await chat(lab.url, "echo", "next")


async def test_the_service_outlives_a_restart_of_redis(lab: Lab) -> None:
    lab.up(api=2, worker=2)
    assert "before" in await chat(lab.url, "echo", "before")
    told = Told()
    async with asyncio.TaskGroup() as group:
        group.create_task(stream(lab.url, "slow", "in the middle", told))
        await told.begun.wait()
        await asyncio.to_thread(lab.compose, "restart", "redis")
    assert told.ended
    assert told.error is not None or len(told.text.split()) == SLOW_WORDS
    lab.up(api=2, worker=2)
    assert "after" in await answered(lab.url, "echo", "after")


async def test_the_proxys_own_error_speaks_the_apis_language(lab: Lab) -> None:
    lab.up(api=1, worker=1)
    lab.compose("stop", "-t", "2", "api")
    try:
        async with httpx.AsyncClient(base_url=lab.url, timeout=30) as http:
            reply = await http.get("/v1/models")
    finally:
        lab.up(api=1, worker=1)
    assert reply.status_code == 503
    assert reply.headers["content-type"] == "application/json"
    assert re.fullmatch(r"req_[0-9a-f-]{36}", reply.headers["x-request-id"])
    assert reply.headers["retry-after"] == "2"
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert "back" in await answered(lab.url, "echo", "back")
