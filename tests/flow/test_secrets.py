"""Secrets planted wherever a caller can put one, and then looked for wherever they might leak."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.fakes.redis_server import RedisServer
from tests.fakes.system import System, upstream_agent
from tests.patience import until

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]

CALLER = "planted-caller-key-01"
SECRET_KEY = "planted-secret-key-02"
PROFILE_KEY = "sk-planted-profile-key-03"
HEADER = "planted-header-value-04"
PROMPT = "planted-prompt-05"
TITLE = "planted-title-06"
SECRETS = (CALLER, SECRET_KEY, PROFILE_KEY, HEADER)
AUTH = {"authorization": f"Bearer {CALLER}"}
FAILING = ("status-401", "status-400", "status-500", "error-chunk", "error-first", "cut-3")


class Monitor:
    """Everything that clients tell a Redis, as its MONITOR command shows it."""

    def __init__(self, server: RedisServer) -> None:
        self.said: list[str] = []
        self._client = server.client()
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            for command in self._monitor.listen():
                self.said.append(str(command))
        except (redis.ConnectionError, ValueError, OSError):
            return  # it was stopped

    def stop(self) -> None:
        self._monitor.connection.disconnect()
        self._thread.join(10)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    agents = {"plain": upstream_agent("words-3")}
    settings = {
        "secret_key": SECRET_KEY,
        "log_level": "debug",
        "log_kept_s": 0.5,
        "upstream_retries": 0,
    }
    with System(tmp_path, {"agents": agents}, settings=settings, api_keys=(CALLER,)) as system:
        yield system


def llm(system: System, model: str) -> dict[str, Any]:
    return {
        "model": f"openai/{model}",
        "api_key": PROFILE_KEY,
        "base_url": system.upstream.base_url,
        "extra_headers": {"X-Api-Token": HEADER},
    }


def chat(model: str, *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": f"Say {PROMPT}"}]
    return {"model": model, "messages": messages, "stream": stream}


async def use(system: System, http: httpx.AsyncClient) -> list[httpx.Response]:
    """All that a caller may do with secrets, right and wrong."""
    replies = []
    for model in ("words-3", *FAILING):
        body = {"llm": llm(system, model), "include_secrets": True}
        replies.append(await http.post(f"/api/profiles/{model}", json=body))
        replies.append(await http.post(f"/api/profiles/{model}/validate", json=body))
        replies.append(await http.get(f"/api/profiles/{model}"))
        for stream in (False, True):
            replies.append(
                await http.post(
                    "/v1/chat/completions", json=chat(f"openhands_{model}", stream=stream)
                )
            )
            asked = {"model": f"openhands_{model}", "input": PROMPT, "stream": stream}
            replies.append(await http.post("/v1/responses", json=asked))
    replies.append(await http.get("/api/profiles"))
    wrong = [{"llm": {"api_key": PROFILE_KEY}}, {"llm": PROFILE_KEY}, {"api_key": PROFILE_KEY}]
    wrong += [{"llm": {"model": "x", "api_key": PROFILE_KEY, "timeout": HEADER}}]
    replies += [await http.post("/api/profiles/wrong", json=body) for body in wrong]
    replies.append(await http.post(f"/api/profiles/{PROFILE_KEY}!", json=wrong[0]))
    replies.append(await http.post("/v1/chat/completions", json={**chat("plain"), "n": PROMPT}))
    replies.append(await http.post("/v1/chat/completions", content=PROMPT.encode()))
    wrong_key = {"authorization": f"Bearer {PROFILE_KEY}", "x-conversation-id": HEADER}
    replies.append(await http.get("/v1/models", headers=wrong_key))
    replies.append(await http.post("/v1/responses", json={"input": PROMPT}, headers=wrong_key))
    return replies


async def test_no_secret_is_found_in_redis_logs_or_replies(system: System) -> None:
    monitor = Monitor(system.redis)
    async with httpx.AsyncClient(base_url=system.url(), headers=AUTH, timeout=60) as http:
        replies = await use(system, http)
        page = (await http.get("/api/conversations/search")).json()["items"]
        assert page, "there must be something to look into"
        name = page[0]["id"]
        replies.append(await http.patch(f"/api/conversations/{name}", json={"title": TITLE}))
        stored = next(r for r in replies if r.status_code == 200 and '"resp_' in r.text[:40])
        kept = await http.get(f"/v1/responses/{stored.json()['id']}")
        assert kept.status_code == 200
        told = await http.get(f"/api/conversations/{name}/events/search")
        assert PROMPT in told.text, "its own principal is told what was said"
    assert any(reply.status_code >= 400 for reply in replies)
    monitor.stop()
    for reply in replies:
        assert not found(SECRETS, reply.text), (reply.request.url, reply.text)
        if reply.status_code >= 400:
            assert not found((PROMPT,), reply.text), (reply.request.url, reply.text)
    for process in (*system.apis, *system.workers):
        assert not found((*SECRETS, PROMPT, TITLE), process.logged()), process.log.name
    assert len(monitor.said) > 100
    assert not found(SECRETS, "\n".join(monitor.said))
    with system.redis.client() as client:
        await until(lambda: not plain_logs(client))
        assert not found((*SECRETS, PROMPT, TITLE), dump(client))
        assert found(("gAAAA",), dump(client))


def found(planted: tuple[str, ...], text: str) -> list[str]:
    return [each for each in planted if each in text]


def plain_logs(client: redis.Redis) -> list[bytes]:
    """Events of runs that are not stored, which go soon after their end."""
    return [key for key in client.keys("*:log:*") if 0 < client.pttl(key) < 60_000]


def dump(client: redis.Redis) -> str:
    """What a copy of the database's file would show, without its compression."""
    client.config_set("rdbcompression", "no")
    client.save()
    where = client.config_get()
    return (Path(where["dir"]) / where["dbfilename"]).read_text("latin-1")
