"""Many requests on one conversation at once, while a worker is killed."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.chaos import logs
from tests.fakes.system import System
from tests.flow.stage import text_of
from tests.patience import until

pytestmark = [pytest.mark.redis, pytest.mark.chaos, pytest.mark.timeout(300)]

REQUESTS = 50
WORDS = 3
HEADER = "X-OpenHands-ServerConversation-ID"
EXPLICIT = {"worker_lost"}


def body(text: str, *, stream: bool = False) -> dict[str, object]:
    messages = [{"role": "user", "content": text}]
    return {"model": "echo", "messages": messages, "stream": stream}


async def test_each_gets_its_own_answer_or_an_error_and_the_history_is_what_was_answered(
    tmp_path: Path,
) -> None:
    config = {"agents": {"echo": {"model": "echo", "echo": {"words_per_second": 30}}}}
    conversation = str(uuid4())
    with System(tmp_path, config, apis=2, workers=3) as system:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            headers={HEADER: conversation}, timeout=120, limits=limits
        ) as client:
            killing = asyncio.create_task(_kill_whoever_runs(system, conversation))
            asking = [
                _ask(
                    client,
                    system.base_url(number % 2),
                    f"words of {number}",
                    stream=number % 4 > 1,
                )
                for number in range(REQUESTS)
            ]
            told = await asyncio.gather(*asking)
            await killing
            last = (
                await client.post(f"{system.base_url()}/chat/completions", json=body("end"))
            ).json()
    right = [text for text, answer in told if answer == text]
    wrong = {text: answer for text, answer in told if answer != text}
    print(f"{len(right)} right answers, {wrong}")
    assert set(wrong.values()) <= EXPLICIT
    assert right
    # The echo agent counts the words it was given: each answered turn is in them once, whole.
    assert last["usage"]["prompt_tokens"] == len(right) * 2 * WORDS + 1


async def _ask(
    client: httpx.AsyncClient, base_url: str, text: str, *, stream: bool
) -> tuple[str, str]:
    """The text, and the answer to it or the code of an error."""
    async with client.stream(
        "POST", f"{base_url}/chat/completions", json=body(text, stream=stream)
    ) as reply:
        assert reply.headers[HEADER] == client.headers[HEADER]
        lines = [line async for line in reply.aiter_lines()]
    if stream and reply.status_code == 200:
        if lines[-2] == "data: [DONE]":
            return text, text_of(lines)
        return text, str(json.loads(lines[-2].removeprefix("data: "))["error"]["code"])
    said = json.loads("".join(lines))
    if reply.status_code != 200:
        return text, str(said["error"]["code"])
    assert said["usage"]["completion_tokens"] == WORDS
    return text, str(said["choices"][0]["message"]["content"])


async def _kill_whoever_runs(system: System, conversation: str) -> None:
    """One worker, in the middle of a run of the conversation that is not the first."""
    indexes = {logs.worker_id(worker): index for index, worker in enumerate(system.workers)}
    with system.redis.client() as client:
        await until(lambda: client.llen(logs.KEYS.turns(conversation)))
        owner = ""
        while not owner:
            await asyncio.sleep(0)
            run_id = (client.hget(logs.KEYS.conversation(conversation), "run") or b"").decode()
            owner = (client.hget(logs.KEYS.run(run_id), "owner") or b"").decode()
        system.kill_worker(indexes[owner])
