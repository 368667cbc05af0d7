"""Conversations behind the gateway as OpenHands' clients see them, over a real socket."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.clients import openhands as shapes
from tests.clients.conftest import PROVIDER_KEY, SESSION_KEY
from tests.clients.openhands import HEADER, differences
from tests.fakes.system import System
from tests.fakes.upstream import words

PRICES = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.01}
PROFILES = {
    "words": "words-3",
    "other": "words-1",
    "echo": "echo-request",
    "slow": "slow-1000x20",
    "refused": "status-401",
    "broken": "status-500",
    "cut": "cut-3",
}


@pytest.fixture(scope="module")
def system(session_system: System) -> Iterator[System]:
    with client(session_system) as http:
        for name, model in PROFILES.items():
            where = {"api_key": PROVIDER_KEY, "base_url": session_system.upstream.base_url}
            body = {"llm": {"model": f"openai/{model}", **where, **PRICES}}
            assert http.post(f"/api/profiles/{name}", json=body).status_code == 201
        yield session_system
        for name in PROFILES:
            http.delete(f"/api/profiles/{name}")


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with client(system) as http:
        yield http


def client(system: System, api: int = 0) -> httpx.Client:
    headers = {"X-Session-API-Key": SESSION_KEY}
    return httpx.Client(base_url=system.url(api), headers=headers, trust_env=False, timeout=60)


def ask(
    http: httpx.Client, text: str, conversation: str = "", *, profile: str = "words", **more: Any
) -> httpx.Response:
    body = {"model": f"openhands_{profile}", "messages": [{"role": "user", "content": text}]}
    headers = {HEADER: conversation} if conversation else {}
    return http.post("/v1/chat/completions", json=body | more, headers=headers)


def told(http: httpx.Client, conversation: str) -> Any:
    reply = http.get(f"/api/conversations/{conversation}")
    assert reply.status_code == 200, reply.text
    assert list(differences(reply.json(), shapes.CONVERSATION)) == []
    return reply.json()


def test_a_conversation_has_all_its_members_at_every_api_process(
    system: System, http: httpx.Client
) -> None:
    reply = ask(http, "one two")
    conversation = reply.headers[HEADER]
    assert str(UUID(conversation)) == conversation
    here = told(http, conversation)
    assert here["execution_status"] == "finished"
    assert here["current_model_id"] == "openhands_words"
    assert here["created_at"].endswith("Z") and here["updated_at"] >= here["created_at"]
    with client(system, 1) as elsewhere:
        assert told(elsewhere, conversation) == here


def test_stats_grow_over_the_turns_with_a_row_for_each(http: httpx.Client) -> None:
    conversation = str(uuid4())
    first = ask(http, "one two", conversation).json()
    ask(http, "three", conversation)
    stats = told(http, conversation)["stats"]["usage_to_metrics"]
    used = stats["default"]
    assert used["model_name"] == "openai/words-3"
    # The second turn begins with the first: its two words and the three of its answer.
    assert [row["prompt_tokens"] for row in used["token_usages"]] == [2, 6]
    assert [row["completion_tokens"] for row in used["token_usages"]] == [3, 3]
    assert used["token_usages"][0]["response_id"] == first["id"]
    assert [row["cost"] for row in used["costs"]] == pytest.approx([0.032, 0.036])
    assert first["usage"]["cost"] == pytest.approx(0.032)
    assert used["accumulated_cost"] == pytest.approx(0.068)
    total = used["accumulated_token_usage"]
    assert (total["prompt_tokens"], total["completion_tokens"]) == (8, 6)
    assert total["per_turn_token"] == 9
    assert len(used["response_latencies"]) == 2
    assert all(row["latency"] >= 0 for row in used["response_latencies"])
    assert stats["condenser"]["accumulated_cost"] == 0.0
    assert stats["condenser"]["token_usages"] == []


def test_the_usage_of_a_reply_is_its_own_and_not_the_conversations(http: httpx.Client) -> None:
    conversation = ask(http, "one").headers[HEADER]
    second = ask(http, "two", conversation).json()
    assert second["usage"]["completion_tokens"] == 3
    assert second["usage"]["prompt_tokens"] == 1 + 3 + 1


@pytest.mark.parametrize("spell", [str.upper, lambda text: text.replace("-", "")])
def test_an_id_that_nobody_has_used_begins_a_conversation(http: httpx.Client, spell: Any) -> None:
    chosen = str(uuid4())
    assert http.get(f"/api/conversations/{chosen}").status_code == 404
    reply = ask(http, "hi", spell(chosen))
    assert (reply.status_code, reply.headers[HEADER]) == (200, chosen)
    assert told(http, spell(chosen))["id"] == chosen


def test_what_is_no_id_is_400_to_openais_clients_and_422_to_openhands(http: httpx.Client) -> None:
    refused = ask(http, "hi", "no-uuid")
    assert refused.status_code == 400
    assert list(differences(refused.json(), shapes.OPENAI_ERROR)) == []
    assert refused.json()["error"]["param"] == HEADER
    for method in ("GET", "DELETE"):
        reply = http.request(method, "/api/conversations/no-uuid")
        assert reply.status_code == 422
        assert list(differences(reply.json(), shapes.UNPROCESSABLE)) == []


def test_what_was_deleted_or_never_was_is_404(http: httpx.Client) -> None:
    path = f"/api/conversations/{ask(http, 'hi').headers[HEADER]}"
    assert http.delete(path).json() == {"success": True}
    for method in ("GET", "DELETE"):
        reply = http.request(method, path)
        assert (reply.status_code, reply.json()["detail"]) == (404, "Not Found")
        assert list(differences(reply.json(), shapes.NATIVE_ERROR)) == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("named", [False, True], ids=["new", "named"])
@pytest.mark.parametrize(
    ("profile", "more", "status"),
    [
        ("refused", {}, 502),
        ("broken", {}, 502),
        ("words", {"temperature": "hot"}, 400),
        ("words", {"messages": []}, 400),
        ("words", {"n": 2}, 400),
        ("nope", {}, 404),
    ],
    ids=str,
)
def test_errors_tell_the_conversation(
    http: httpx.Client, profile: str, more: Any, status: int, named: bool, stream: bool
) -> None:
    conversation = str(uuid4()) if named else ""
    reply = ask(http, "hi", conversation, profile=profile, stream=stream, **more)
    assert reply.status_code == status, reply.text
    assert list(differences(reply.json(), shapes.OPENAI_ERROR)) == []
    assert str(UUID(reply.headers[HEADER])) == (conversation or reply.headers[HEADER])
    assert PROVIDER_KEY not in reply.text


def test_a_stream_tells_the_conversation_before_its_first_word(
    system: System, http: httpx.Client
) -> None:
    body = {"model": "openhands_slow", "messages": [{"role": "user", "content": "hi"}]}
    with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as reply:
        conversation = reply.headers[HEADER]
        assert told(http, conversation)["execution_status"] == "running"
        assert "slow-1000x20" in system.upstream.open()
    system.upstream.until(lambda upstream: not upstream.open())


def test_a_response_tells_its_conversation_too(http: httpx.Client) -> None:
    body = {"model": "openhands_words", "input": "one"}
    first = http.post("/v1/responses", json=body)
    headers = {HEADER: first.headers[HEADER]}
    body = {"model": "openhands_echo", "input": "two"}
    second = http.post("/v1/responses", json=body, headers=headers)
    sent = json.loads(second.json()["output"][0]["content"][0]["text"])["messages"]
    assert [message["content"] for message in sent] == ["one", words(3), "two"]


def test_who_waits_for_a_conversation_that_is_deleted_gets_409(
    system: System, http: httpx.Client
) -> None:
    conversation = str(uuid4())
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, http, "hi", conversation, profile="slow")
        system.upstream.until(lambda upstream: bool(upstream.open()))
        reply = http.delete(f"/api/conversations/{conversation}")
        assert (reply.status_code, reply.json()) == (200, {"success": True})
        ended = waiting.result()
    assert ended.status_code == 409
    assert list(differences(ended.json(), shapes.OPENAI_ERROR)) == []
    assert (ended.json()["error"]["code"], ended.headers[HEADER]) == ("cancelled", conversation)
    assert ended.headers["x-should-retry"] == "false"
    assert http.get(f"/api/conversations/{conversation}").status_code == 404
    system.upstream.until(lambda upstream: not upstream.open())


def test_a_stream_of_a_conversation_that_is_deleted_ends_with_the_error(
    system: System, http: httpx.Client
) -> None:
    body = {"model": "openhands_slow", "messages": [{"role": "user", "content": "hi"}]}
    with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as reply:
        path = f"/api/conversations/{reply.headers[HEADER]}"
        assert http.delete(path).json() == {"success": True}
        lines = [line for line in reply.iter_lines() if line.startswith("data: ")]
    error = json.loads(lines[-1].removeprefix("data: "))
    assert list(differences(error, shapes.OPENAI_ERROR)) == []
    assert error["error"]["code"] == "cancelled"
    system.upstream.until(lambda upstream: not upstream.open())


def test_another_model_takes_over_and_is_told_truly(system: System, http: httpx.Client) -> None:
    conversation = str(uuid4())
    first = ask(http, "one", conversation)
    second = ask(http, "two", conversation, profile="other")
    models = [reply.json()["model"] for reply in (first, second)]
    assert models == ["openhands_words", "openhands_other"]
    asked = [request["model"] for request in system.upstream.requests()]
    assert asked == ["words-3", "words-1"]
    here = told(http, conversation)
    assert here["current_model_id"] == "openhands_other"
    assert here["agent"]["llm"]["model"] == "openai/words-1"
    rows = here["stats"]["usage_to_metrics"]["default"]["token_usages"]
    assert [row["model"] for row in rows] == ["openai/words-3", "openai/words-1"]


def test_system_text_of_a_later_turn_reaches_the_model(http: httpx.Client) -> None:
    conversation = str(uuid4())

    def turn(system: str, text: str) -> list[Any]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        reply = ask(http, "", conversation, profile="echo", messages=messages).json()
        sent: list[Any] = json.loads(reply["choices"][0]["message"]["content"])["messages"]
        return [(message["role"], message["content"]) for message in sent]

    assert turn("Shout.", "one") == [("system", "Shout."), ("user", "one")]
    later = turn("Whisper.", "two")
    assert later[-1] == ("user", "two") and ("system", "Whisper.") in later


@pytest.mark.parametrize("profile", ["broken", "cut"])
def test_a_turn_that_failed_does_not_stop_the_next(http: httpx.Client, profile: str) -> None:
    conversation = str(uuid4())
    assert ask(http, "one", conversation, profile=profile).status_code == 502
    assert told(http, conversation)["execution_status"] == "error"
    assert ask(http, "two", conversation).status_code == 200
    assert told(http, conversation)["execution_status"] == "finished"


def test_requests_at_once_each_get_their_own_answer(system: System, http: httpx.Client) -> None:
    conversation = str(uuid4())
    texts = [f"I am {number}" for number in range(4)]
    with client(system, 1) as other, ThreadPoolExecutor() as pool:
        asked = [
            pool.submit(ask, (http, other)[n % 2], text, conversation, profile="echo")
            for n, text in enumerate(texts)
        ]
        replies = [each.result().json() for each in asked]
    sent = [json.loads(r["choices"][0]["message"]["content"])["messages"] for r in replies]
    assert [messages[-1]["content"] for messages in sent] == texts
    # One after the other: each knows those before it, whichever came first.
    assert sorted(map(len, sent)) == [1, 3, 5, 7]
    rows = told(http, conversation)["stats"]["usage_to_metrics"]["default"]["token_usages"]
    assert {row["response_id"] for row in rows} == {reply["id"] for reply in replies}


def test_a_refused_key_is_told_the_conversation_that_it_named(http: httpx.Client) -> None:
    conversation = str(uuid4())
    http.headers["X-Session-API-Key"] = "wrong"
    reply = ask(http, "one", conversation)
    assert (reply.status_code, reply.headers[HEADER]) == (401, conversation)
