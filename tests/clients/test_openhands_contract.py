"""What OpenHands' agent-server answers to profiles, keys, models and chat, over a real socket."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.clients import openhands as shapes
from tests.clients.conftest import PROVIDER_KEY, SESSION_KEY
from tests.clients.openhands import HEADER, differences
from tests.fakes.system import System
from tests.fakes.upstream import words

SESSION = {"X-Session-API-Key": SESSION_KEY}
BEARER = {"Authorization": f"Bearer {SESSION_KEY}"}
HELLO = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def system(session_system: System) -> System:
    return session_system


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.url(), headers=SESSION, trust_env=False, timeout=60) as http:
        yield http
        for profile in http.get("/api/profiles").json()["profiles"]:
            http.delete(f"/api/profiles/{profile['name']}")


def llm(system: System, model: str = "words-3", **more: Any) -> dict[str, Any]:
    where = {"api_key": PROVIDER_KEY, "base_url": system.upstream.base_url}
    return {"model": f"openai/{model}", **where, **more}


def save(http: httpx.Client, name: str, llm: dict[str, Any]) -> httpx.Response:
    return http.post(f"/api/profiles/{name}", json={"llm": llm, "include_secrets": True})


def is_a(shape: Any, reply: httpx.Response, status: int = 200) -> Any:
    """The body of a reply, which must have this status and shape."""
    assert reply.status_code == status, reply.text
    assert list(differences(reply.json(), shape)) == []
    return reply.json()


def test_every_call_of_a_profiles_life_has_its_status_and_body(
    system: System, http: httpx.Client
) -> None:
    def call(method: str, path: str, body: Any = None) -> httpx.Response:
        return http.request(method, f"/api/profiles{path}", json=body)

    for left in call("GET", "").json()["profiles"]:  # by whoever used the server before
        call("DELETE", f"/{left['name']}")
    whole = llm(system)
    is_a(shapes.CHANGED, save(http, "demo", whole), 201)
    is_a(shapes.CHANGED, save(http, "demo", whole), 201)
    is_a(shapes.CHANGED, save(http, "other", whole), 201)
    is_a(shapes.PROFILE, call("GET", "/demo"))
    is_a(shapes.ACTIVATED, call("POST", "/demo/activate"))
    listed = is_a(shapes.PROFILES, call("GET", ""))
    assert (len(listed["profiles"]), listed["active_profile"]) == (2, "demo")
    is_a(shapes.CHANGED, call("POST", "/demo/rename", {"new_name": "moved"}))
    is_a(shapes.NATIVE_ERROR, call("POST", "/demo/rename", {"new_name": "x"}), 404)
    is_a(shapes.NATIVE_ERROR, call("POST", "/moved/rename", {"new_name": "other"}), 409)
    is_a(shapes.VALIDATED, call("POST", "/moved/validate", {"llm": whole}))
    refused = call("POST", "/moved/validate", {"llm": llm(system, "status-401")})
    assert is_a(shapes.INVALID, refused)["error"]["type"] == "LLMAuthenticationError"
    for _ in range(2):
        is_a(shapes.CHANGED, call("DELETE", "/moved"))
    is_a(shapes.NATIVE_ERROR, call("GET", "/moved"), 404)
    is_a(shapes.NATIVE_ERROR, call("POST", "/moved/activate"), 404)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_profiles_are_neither_patched_nor_put(http: httpx.Client, method: str) -> None:
    is_a(shapes.NATIVE_ERROR, http.request(method, "/api/profiles/demo", json={}), 405)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/.hidden", {"llm": {"model": "openai/x", "api_key": PROVIDER_KEY}}),
        ("/" + "x" * 65, {"llm": {"model": "openai/x", "api_key": PROVIDER_KEY}}),
        ("/demo", {}),
        ("/demo", {"llm": {"api_key": PROVIDER_KEY}}),
        ("/demo", {"llm": {"model": 7, "api_key": PROVIDER_KEY}}),
        ("/demo/validate", {"llm": {"api_key": PROVIDER_KEY}}),
        ("/demo/rename", {"new_name": "a b"}),
    ],
    ids=str,
)
def test_what_cannot_be_processed_is_422_without_its_secrets(
    http: httpx.Client, path: str, body: Any
) -> None:
    reply = http.post(f"/api/profiles{path}", json=body)
    is_a(shapes.UNPROCESSABLE, reply, 422)
    assert PROVIDER_KEY not in reply.text


def test_the_fifty_first_profile_is_409(system: System, http: httpx.Client) -> None:
    for number in range(50):
        is_a(shapes.CHANGED, save(http, f"p{number}", llm(system)), 201)
    is_a(shapes.NATIVE_ERROR, save(http, "one-more", llm(system)), 409)
    is_a(shapes.CHANGED, save(http, "p7", llm(system)), 201)


def test_secrets_leave_only_as_the_header_asks(system: System, http: httpx.Client) -> None:
    save(http, "demo", llm(system))

    def shown(name: str = "demo", **headers: str) -> Any:
        reply = http.get(f"/api/profiles/{name}", headers=headers)
        return is_a(shapes.PROFILE, reply)["config"]["api_key"]

    assert shown() is None
    assert shown(**{"X-Expose-Secrets": "plaintext"}) == PROVIDER_KEY
    token = shown(**{"X-Expose-Secrets": "encrypted"})
    assert token.startswith("gAAAA") and PROVIDER_KEY not in token
    save(http, "copy", llm(system, api_key=token))
    assert shown("copy", **{"X-Expose-Secrets": "plaintext"}) == PROVIDER_KEY
    http.post("/api/profiles/bare", json={"llm": llm(system), "include_secrets": False})
    assert shown("bare", **{"X-Expose-Secrets": "plaintext"}) is None
    assert http.get("/api/profiles/bare").json()["api_key_set"] is False
    other = http.get("/api/profiles/demo", headers={"X-Expose-Secrets": "all"})
    is_a(shapes.NATIVE_ERROR, other, 400)


@pytest.mark.parametrize(
    ("headers", "enters"),
    [
        (SESSION, True),
        (BEARER, True),
        ({"X-Session-API-Key": "wrong", **BEARER}, True),
        ({**SESSION, "Authorization": "Bearer wrong"}, True),
        ({}, False),
        ({"X-Session-API-Key": "wrong"}, False),
        ({"Authorization": "Bearer wrong"}, False),
        ({"Authorization": f"Basic {SESSION_KEY}"}, False),
    ],
    ids=str,
)
def test_a_key_opens_both_doors_in_either_header(
    system: System, headers: dict[str, str], enters: bool
) -> None:
    doors = {
        "/v1/models": (200, shapes.OPENAI_ERROR),
        "/v1/responses/resp_unknown": (404, shapes.OPENAI_ERROR),
        "/api/profiles": (200, shapes.NATIVE_ERROR),
        f"/api/conversations/{uuid4()}": (404, shapes.NATIVE_ERROR),
    }
    for path, (inside, refusal) in doors.items():
        reply = httpx.get(system.url() + path, headers=headers, trust_env=False)
        if enters:
            assert reply.status_code == inside
        else:
            body = is_a(refusal, reply, 401)
            assert body.get("detail", "Unauthorized") == "Unauthorized"


@pytest.mark.parametrize("path", ["/alive", "/health", "/ready"])
def test_launchers_need_no_key_to_see_that_the_server_is_up(system: System, path: str) -> None:
    reply = httpx.get(system.url() + path, trust_env=False)
    assert (reply.status_code, list(reply.json())) == (200, ["status"])


def test_profiles_are_listed_and_found_as_models(system: System, http: httpx.Client) -> None:
    save(http, "demo", llm(system))
    data = is_a(shapes.MODELS, http.get("/v1/models"))["data"]
    [listed] = [model for model in data if model["id"] == "openhands_demo"]
    assert listed["object"] == "model" and listed["created"] > 0
    assert http.get("/v1/models/openhands_demo").json() == listed
    is_a(shapes.OPENAI_ERROR, http.get("/v1/models/openhands_nope"), 404)


def test_a_completion_has_its_members(system: System, http: httpx.Client) -> None:
    save(http, "demo", llm(system))
    body = {"model": "openhands_demo", "messages": HELLO, "unheard_of": 1}
    reply = http.post("/v1/chat/completions", json=body)
    completion = is_a(shapes.COMPLETION, reply)
    assert completion["id"].startswith("chatcmpl-")
    assert (completion["object"], completion["model"]) == ("chat.completion", "openhands_demo")
    [choice] = completion["choices"]
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", words(3))
    assert choice["finish_reason"] == "stop"
    assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= completion["usage"].keys()
    assert reply.headers["content-type"] == "application/json"


def test_a_stream_has_its_chunks(system: System, http: httpx.Client) -> None:
    save(http, "demo", llm(system))
    body = {"model": "openhands_demo", "messages": HELLO, "stream": True}
    body["stream_options"] = {"include_usage": True}
    reply = http.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    lines = [line for line in reply.text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "data: [DONE]"
    *chunks, last, usage = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert list(differences(usage, shapes.USAGE_CHUNK)) == []
    assert usage["choices"] == []
    assert list(differences(last, shapes.LAST_CHUNK)) == []
    assert last["choices"][0]["finish_reason"] == "stop"
    for chunk in chunks:
        assert list(differences(chunk, shapes.CHUNK)) == []
        assert chunk["choices"][0]["finish_reason"] is None
    assert {chunk["id"] for chunk in chunks} == {usage["id"]}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_browsers_may_read_the_conversation_where_cors_is_on(system: System) -> None:
    origin = {"Origin": "https://chat.example"}
    body = {"model": "assistant", "messages": HELLO}
    exposed = []
    for api in (0, 1):
        url = f"{system.base_url(api)}/chat/completions"
        for headers in ({**SESSION, HEADER: str(uuid4())}, {"X-Session-API-Key": "wrong"}):
            told = httpx.post(url, json=body, headers=origin | headers, trust_env=False)
            exposed.append(told.headers.get("access-control-expose-headers", "").lower())
    assert exposed[:2] == ["", ""]
    assert all(HEADER.lower() in names.split(", ") for names in exposed[2:])
    url = f"{system.base_url(1)}/chat/completions"
    told = httpx.post(url, json={**body, "stream": True}, headers=origin | SESSION, trust_env=False)
    assert told.headers["access-control-allow-origin"] and told.text.endswith("data: [DONE]\n\n")
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": HEADER}
    url = f"{system.base_url(1)}/chat/completions"
    allowed = httpx.options(url, headers=origin | wish, trust_env=False)
    assert allowed.status_code == 200
    assert HEADER.lower() in allowed.headers["access-control-allow-headers"].lower()
