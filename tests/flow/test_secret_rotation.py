"""A deployment whose secret key is replaced, while what was stored before is still there."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.system import System, upstream_agent
from trunkline_shared.keys import Keys
from trunkline_shared.profile import open_llm
from trunkline_shared.vault import Unreadable, Vault

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]

OLD, NEW = "the-old-secret-key", "the-new-secret-key"
CONVERSATION = "0b5e7a52-7c1f-4d5f-9a6e-3f2c1d0e9b8a"
OTHER = "1b5e7a52-7c1f-4d5f-9a6e-3f2c1d0e9b8a"
HEADER = "x-openhands-serverconversation-id"


def replaced(system: System, **environ: str) -> httpx.AsyncClient:
    """A client of new processes, which take the place of all there were."""
    for process in (*system.apis, *system.workers):
        process.signal(signal.SIGTERM)
        assert process.wait() <= 0
    system.start_worker(**environ)
    system.start_api(**environ)
    system.wait_ready()
    return httpx.AsyncClient(base_url=system.url(len(system.apis) - 1), timeout=60)


async def asked(http: httpx.AsyncClient, model: str, text: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return await http.post("/v1/chat/completions", json=body, headers={HEADER: CONVERSATION})


async def responded(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await http.post("/v1/responses", json={"model": "plain", "input": "hi", **more})


async def filled(system: System) -> dict[str, Any]:
    """Stores one of everything, and returns the response."""
    async with httpx.AsyncClient(base_url=system.url(), timeout=60) as http:
        llm = {"model": "openai/words-3", "api_key": "sk-1", "base_url": system.upstream.base_url}
        assert (await http.post("/api/profiles/old", json={"llm": llm})).status_code == 201
        assert (await asked(http, "openhands_old", "first")).status_code == 200
        body: dict[str, Any] = (await responded(http)).json()
        return body


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    agents = {"agents": {"plain": upstream_agent("words-3")}}
    with System(tmp_path, agents, settings={"secret_key": OLD}) as system:
        yield system


async def test_with_the_previous_key_at_hand_nothing_is_lost(system: System) -> None:
    response = await filled(system)
    environ = {"TRUNKLINE_SECRET_KEY": NEW, "TRUNKLINE_PREVIOUS_SECRET_KEYS": OLD}
    async with replaced(system, **environ) as http:
        expose = {"x-expose-secrets": "plaintext"}
        profile = (await http.get("/api/profiles/old", headers=expose)).json()
        assert profile["config"]["api_key"] == "sk-1"
        assert (await asked(http, "openhands_old", "second")).status_code == 200
        told = (await http.get(f"/api/conversations/{CONVERSATION}/events/count")).json()
        assert told == 4
        assert (await http.get(f"/v1/responses/{response['id']}")).json() == response
        assert (await responded(http, previous_response_id=response["id"])).status_code == 200
        assert (await http.post("/api/profiles/new", json={"llm": profile["config"]})).is_success
    with system.redis.client() as client:
        sealed = client.hget(Keys().profiles, "new").decode()  # type: ignore[union-attr]
        turns = client.lrange(Keys().turns(CONVERSATION), 0, -1)
    assert open_llm(sealed, Vault(NEW)).api_key == "sk-1"
    assert Vault(NEW).open(turns[1])  # type: ignore[index]
    with pytest.raises(Unreadable):
        Vault(NEW).open(turns[0])  # type: ignore[index]


async def test_without_it_what_is_lost_says_why_and_hides_nothing_else(system: System) -> None:
    response = await filled(system)
    async with replaced(system, TRUNKLINE_SECRET_KEY=NEW) as http:
        path = f"/api/conversations/{CONVERSATION}"
        replies = [
            await http.get("/api/profiles/old"),
            await asked(http, "openhands_old", "second"),
            await asked(http, "plain", "second"),
            await http.get(path),
            await http.get(f"{path}/events/search"),
            await http.post(f"{path}/fork"),
            await http.get(f"/v1/responses/{response['id']}"),
        ]
        assert [reply.status_code for reply in replies] == [409, 503, 503, 409, 409, 409, 500]
        for reply in replies[:-1]:
            assert "TRUNKLINE_SECRET_KEY is not the key" in reply.json()["error"]["message"]
        assert (await http.get("/api/profiles")).json()["profiles"][0]["name"] == "old"
        other = await http.post(
            "/v1/chat/completions",
            json={"model": "plain", "messages": [{"role": "user", "content": "hi"}]},
            headers={HEADER: OTHER},
        )
        assert other.status_code == 200
        page = (await http.get("/api/conversations/search")).json()["items"]
        assert [item["id"] for item in page] == [OTHER]
        assert (await http.delete(path)).json() == {"success": True}
