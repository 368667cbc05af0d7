"""Requests under an Idempotency-Key, over two API processes and two workers."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.chaos import logs
from tests.fakes.system import System, upstream_agent
from tests.fakes.upstream import words
from tests.flow.caller import CHAT, REPLAYED, RESPONSES, Caller, frames
from tests.flow.stage import request, text_of
from tests.patience import until

pytestmark = pytest.mark.redis
KEYS = ("ana-key", "bob-key")
MODELS = ("words-3", "slow-60x20", "slow-20x50", "error-first", "cut-3", "hang", "tools")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    agents = {model: upstream_agent(model) for model in MODELS}
    directory = tmp_path_factory.mktemp("idempotency")
    settings = {"upstream_retries": 0, "secret_key": "a secret key of thirty-two bytes"}
    options: Any = {"apis": 2, "workers": 2, "api_keys": KEYS, "settings": settings}
    with System(directory, {"agents": agents}, **options) as system:
        yield system


@pytest.fixture
async def ana(system: System) -> Any:
    caller = Caller(system, KEYS[0])
    yield caller
    await caller.aclose()


@pytest.fixture
async def bob(system: System) -> Any:
    caller = Caller(system, KEYS[1])
    yield caller
    await caller.aclose()


def asked(system: System) -> int:
    """How often the model was asked so far."""
    return len(system.upstream.requests())


def forget_log(system: System, run_id: str) -> None:
    with system.redis.client() as redis:
        redis.delete(logs.KEYS.log(run_id))


def run_of(reply: httpx.Response) -> str:
    return str(reply.json()["id"]).removeprefix("chatcmpl-").removeprefix("resp_")


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_a_whole_reply_is_given_again_by_any_process(
    system: System, ana: Caller, path: str
) -> None:
    body = request("hi", "words-3") if path == CHAT else {"model": "words-3", "input": "hi"}
    before = asked(system)
    first = await ana.post(body, path=path)
    assert first.status_code == 200 and REPLAYED not in first.headers
    again = await ana.post(body, path=path, api=1)
    assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
    assert again.content == first.content
    forget_log(system, run_of(first))
    later = await ana.post(body, path=path, api=1)
    assert later.json() == first.json()
    assert asked(system) == before + 1


@pytest.mark.parametrize("stream", [True, False])
async def test_fifty_at_once_are_one_run(system: System, ana: Caller, stream: bool) -> None:
    body = request("hi", "slow-20x50", stream=stream)
    before = asked(system)
    replies = await asyncio.gather(*(ana.post(body, api=number % 2) for number in range(50)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({b"".join(frames(reply)) for reply in replies}) == 1
    assert len([reply for reply in replies if REPLAYED not in reply.headers]) == 1
    assert asked(system) == before + 1


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_a_stream_whose_client_left_goes_on_and_is_told_from_its_start(
    system: System, ana: Caller, path: str
) -> None:
    body: dict[str, Any] = {"model": "slow-60x20", "stream": True}
    if path == CHAT:
        body = {**request("hi", **{"agent": "slow-60x20"}), "stream": True}
        body["stream_options"] = {"include_usage": True}
    else:
        body["input"] = "hi"
    before = asked(system)
    headers = {"Idempotency-Key": ana.key}
    async with ana.http[0].stream("POST", path, json=body, headers=headers) as left:
        begun = await anext(left.aiter_bytes())
    during = await ana.post(body, path=path, api=1)
    assert during.headers[REPLAYED] == "true" and during.content.startswith(begun[:100])
    after = await ana.post(body, path=path)
    assert frames(after) == frames(during)
    said = during.content.decode()
    assert all(word in said for word in words(60).split())
    assert said.endswith("data: [DONE]\n\n") == (path == CHAT)
    assert asked(system) == before + 1


@pytest.mark.parametrize("more", [{}, {"stream_options": {"include_usage": True}}])
@pytest.mark.parametrize("model", ["words-3", "tools"])
async def test_a_stream_whose_log_is_gone_is_made_of_the_result(
    system: System, ana: Caller, model: str, more: dict[str, Any]
) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    body = request("hi", model, stream=True, tools=[tool], **more)
    first = await ana.post(body)
    chunks = [line for line in first.text.splitlines() if line]
    forget_log(system, chunks[0].split("chatcmpl-")[1][:28])
    later = await ana.post(body, api=1)
    told = [line for line in later.text.splitlines() if line]
    assert text_of(told) == text_of(chunks) and later.headers[REPLAYED] == "true"
    assert told[-1] == "data: [DONE]" == chunks[-1]
    ends = -3 if more else -2
    assert told[ends:] == chunks[ends:]
    assert len(told) <= len(chunks)


async def test_a_client_that_leaves_a_whole_reply_gets_it_when_it_comes_back(
    system: System, ana: Caller
) -> None:
    body = request("hi", "slow-60x20")
    before = asked(system)
    first = asyncio.create_task(ana.post(body))
    await until(lambda: asked(system) == before + 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    again = await ana.post(body, api=1)
    assert again.json()["choices"][0]["message"]["content"] == words(60)
    assert asked(system) == before + 1


async def test_another_request_under_the_key_is_refused(ana: Caller) -> None:
    body = request("hi", "words-3")
    assert (await ana.post(body)).status_code == 200
    others = [
        await ana.post(request("ho", "words-3"), api=1),
        await ana.post(body, **{"X-Trunkline-Events": "tools"}),
        await ana.post(body, **{"X-Conversation-ID": str(uuid4())}),
        await ana.post({"model": "words-3", "input": "hi"}, path=RESPONSES),
    ]
    for refused in others:
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["param"]) == (
            *(422, "idempotency_key_reused"),
            "Idempotency-Key",
        )
        assert error["type"] == "invalid_request_error" and REPLAYED not in refused.headers


async def test_a_key_is_its_principals_own(ana: Caller, bob: Caller) -> None:
    bob.key = ana.key
    body = request("hi", "words-3")
    first, others = await ana.post(body), await bob.post(body)
    assert others.status_code == 200 and REPLAYED not in others.headers
    assert others.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "k\tk", "schlüssel"])
async def test_what_is_no_key_is_refused(ana: Caller, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode()}
    refused = await ana.http[0].post(CHAT, json=request("hi", "words-3"), headers=headers)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(("model", "status"), [("error-first", 502), ("cut-3", 502)])
async def test_a_failure_is_told_again_and_clients_are_told_not_to_retry(
    system: System, ana: Caller, model: str, status: int
) -> None:
    body = request("hi", model)
    before = asked(system)
    first = await ana.post(body)
    again = await ana.post(body, api=1)
    assert (first.status_code, again.status_code) == (status, status)
    assert again.headers["x-should-retry"] == "false" == first.headers["x-should-retry"]
    assert again.headers[REPLAYED] == "true" and again.content == first.content
    assert asked(system) == before + 1


async def test_a_failed_stream_is_told_again_as_it_was(system: System, ana: Caller) -> None:
    body = request("hi", "cut-3", stream=True)
    first, again = await ana.post(body), await ana.post(body, api=1)
    assert frames(again) == frames(first) and b'"error"' in frames(first)[-1]
    forget_log(system, first.text.split("chatcmpl-")[1][:28])
    later = await ana.post(body)
    assert frames(later)[-1] == frames(first)[-1]
    assert text_of(later.text.splitlines()) == text_of(first.text.splitlines())


async def test_what_is_not_stored_is_kept_for_its_key_alone(system: System, ana: Caller) -> None:
    body = {"model": "words-3", "input": "hi", "store": False}
    first = await ana.post(body, path=RESPONSES)
    forget_log(system, run_of(first))
    assert (await ana.post(body, path=RESPONSES, api=1)).json() == first.json()
    found = await ana.http[0].get(f"{RESPONSES}/{first.json()['id']}")
    assert found.status_code == 404
    with system.redis.client() as redis:
        sealed = redis.get(logs.KEYS.result(run_of(first)))
    assert words(3).encode() not in sealed and sealed.startswith(b"gAAAA")


@pytest.mark.parametrize("background", [False, True])
async def test_what_was_deleted_is_not_told_again(
    system: System, ana: Caller, background: bool
) -> None:
    body = {"model": "words-3", "input": "hi", "background": background}
    first = await ana.post(body, path=RESPONSES)
    url = f"{RESPONSES}/{first.json()['id']}"
    await ana.http[0].get(f"{url}?stream=true")  # which ends with it
    await ana.http[0].delete(url)
    forget_log(system, run_of(first))
    again = await ana.post(body, path=RESPONSES, api=1)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotency_result_gone")
    assert again.headers["x-should-retry"] == "false"


async def test_a_response_in_the_background_answers_how_far_it_is(
    system: System, ana: Caller
) -> None:
    body = {"model": "slow-60x20", "input": "hi", "background": True}
    first = await ana.post(body, path=RESPONSES)
    assert first.json()["status"] == "queued"
    again = await ana.post(body, path=RESPONSES, api=1)
    assert again.json()["id"] == first.json()["id"] and again.headers[REPLAYED] == "true"
    url = f"{RESPONSES}/{first.json()['id']}"
    await ana.http[0].get(f"{url}?stream=true")  # which ends with it
    last = await ana.post(body, path=RESPONSES)
    assert last.json()["status"] == "completed"
    assert last.json() == (await ana.http[0].get(url)).json()


async def test_so_does_its_stream_from_the_first_event_on(system: System, ana: Caller) -> None:
    body = {"model": "slow-20x50", "input": "hi", "background": True, "stream": True}
    first, again = await asyncio.gather(*(ana.post(body, path=RESPONSES, api=n) for n in (0, 1)))
    assert frames(first) == frames(again) and b"response.queued" in first.content


async def test_a_turn_of_a_conversation_happens_once(system: System, ana: Caller) -> None:
    conversation = str(uuid4())
    body = request("hi", "words-3")
    headers = {"X-Conversation-ID": conversation}
    first, again = await asyncio.gather(*(ana.post(body, api=n, **headers) for n in (0, 1)))
    assert first.content == again.content
    assert again.headers["x-conversation-id"] == conversation
    with system.redis.client() as redis:
        assert redis.llen(logs.KEYS.turns(conversation)) == 1
