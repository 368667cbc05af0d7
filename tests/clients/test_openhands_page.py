"""OpenHands' page "OpenAI-Compatible Gateway": its steps in its order, with its own two clients.

Only the URL, the keys and the model behind the profile differ.
"""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from openai import OpenAI

from tests.clients.conftest import PROVIDER_KEY, SESSION_KEY
from tests.clients.curl import JSON, curl
from tests.fakes.system import System
from tests.fakes.upstream import words

HEADER = "X-OpenHands-ServerConversation-ID"
PROFILE = "gateway_demo"
MODEL = f"openhands_{PROFILE}"
ANSWER_DIRECTLY: Any = {"role": "system", "content": "Answer directly and do not use tools."}
FIRST: Any = {
    "role": "user",
    "content": "In one sentence, explain what an OpenAI-compatible agent-server gateway does.",
}
SECOND: Any = {
    "role": "user",
    "content": "Now answer in five words or fewer: what did I ask about?",
}


@pytest.fixture(scope="module")
def system(session_system: System) -> System:
    return session_system


@pytest.fixture
def native(system: System) -> Iterator[httpx.Client]:
    headers = {"X-Session-API-Key": SESSION_KEY}
    with httpx.Client(base_url=system.url(), headers=headers, timeout=120, trust_env=False) as http:
        yield http


@pytest.fixture
def gateway(system: System) -> Iterator[OpenAI]:
    with OpenAI(api_key=SESSION_KEY, base_url=system.base_url(), timeout=120.0) as client:
        yield client


def llm(system: System) -> dict[str, str]:
    upstream = system.upstream.base_url
    return {"model": "openai/words-3", "api_key": PROVIDER_KEY, "base_url": upstream}


def test_the_example_goes_through(system: System, native: httpx.Client, gateway: OpenAI) -> None:
    saved = native.post(
        f"/api/profiles/{PROFILE}", json={"llm": llm(system), "include_secrets": True}
    )
    assert saved.status_code == 201, saved.text
    assert MODEL in [model.id for model in gateway.models.list().data]

    first = gateway.chat.completions.with_raw_response.create(
        model=MODEL, messages=[ANSWER_DIRECTLY, FIRST]
    )
    assert first.parse().choices[0].message.content == words(3)
    conversation = first.headers.get(HEADER)
    assert conversation is not None and str(UUID(conversation)) == conversation
    persisted = native.get(f"/api/conversations/{conversation}")
    assert persisted.status_code == 200, persisted.text

    second = gateway.chat.completions.create(
        model=MODEL, messages=[SECOND], extra_headers={HEADER: conversation}
    )
    assert second.choices[0].message.content == words(3)
    answered = {"role": "assistant", "content": words(3)}
    [_, asked] = system.upstream.requests()
    assert asked["body"]["messages"] == [ANSWER_DIRECTLY, FIRST, answered, SECOND]
    assert asked["headers"]["authorization"] == f"Bearer {PROVIDER_KEY}"

    told = native.get(f"/api/conversations/{conversation}")
    assert told.status_code == 200, told.text
    metrics = told.json()["stats"]["usage_to_metrics"].values()
    assert sum(each.get("accumulated_cost", 0.0) for each in metrics) == 0.0

    assert native.delete(f"/api/conversations/{conversation}").json() == {"success": True}
    assert native.get(f"/api/conversations/{conversation}").status_code == 404
    assert native.delete(f"/api/profiles/{PROFILE}").status_code == 200
    assert MODEL not in [model.id for model in gateway.models.list().data]


@pytest.mark.parametrize(
    "key",
    [f"X-Session-API-Key: {SESSION_KEY}", f"Authorization: Bearer {SESSION_KEY}"],
    ids=["session", "bearer"],
)
def test_the_five_steps_go_through_by_curl_with_either_header(system: System, key: str) -> None:
    session = ("-H", key)
    body = json.dumps({"llm": llm(system), "include_secrets": True})
    profile = f"{system.url()}/api/profiles/{PROFILE}"
    saved = json.loads(curl(profile, "-X", "POST", *session, *JSON, "-d", body))
    assert saved == {"name": PROFILE, "message": f"Profile '{PROFILE}' saved"}
    listed = json.loads(curl(f"{system.base_url()}/models", *session))
    assert MODEL in [model["id"] for model in listed["data"]]

    def ask(message: Any, *options: str) -> tuple[str, dict[str, Any]]:
        """The conversation and the reply."""
        body = json.dumps({"model": MODEL, "messages": [message]})
        url = f"{system.base_url()}/chat/completions"
        printed = curl(url, "-i", *session, *JSON, "-d", body, *options)
        head, _, reply = printed.partition("\n\n")
        headers = dict(line.split(": ", 1) for line in head.lower().splitlines()[1:])
        return headers[HEADER.lower()], json.loads(reply)

    conversation, first = ask(FIRST)
    again, second = ask(SECOND, "-H", f"{HEADER}: {conversation}")
    assert again == conversation
    for reply in (first, second):
        assert reply["choices"][0]["message"]["content"] == words(3)
    sent = system.upstream.requests()[-1]["body"]["messages"]
    assert [message["content"] for message in sent] == [
        FIRST["content"],
        words(3),
        SECOND["content"],
    ]
    there = f"{system.url()}/api/conversations/{conversation}"
    assert json.loads(curl(there, *session))["id"] == conversation
    assert json.loads(curl(there, "-X", "DELETE", *session)) == {"success": True}
    assert json.loads(curl(profile, "-X", "DELETE", *session))["name"] == PROFILE


def test_what_the_page_says_is_missing_is_there(system: System, native: httpx.Client) -> None:
    native.post(f"/api/profiles/{PROFILE}", json={"llm": llm(system)})
    body = json.dumps({"model": MODEL, "messages": [FIRST], "stream": True})
    url = f"{system.base_url()}/chat/completions"
    printed = curl(url, "-N", "-H", f"Authorization: Bearer {SESSION_KEY}", *JSON, "-d", body)
    lines = [line for line in printed.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    texts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
    assert "".join(texts) == words(3)
    native.delete(f"/api/profiles/{PROFILE}")
