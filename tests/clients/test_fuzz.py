"""Requests made up from our own OpenAPI document: right ones, wrong ones, and those without a key.

`FUZZ_EXAMPLES=100 pytest tests/clients/test_fuzz.py` makes more than the suite does.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import hypothesis
import jsonschema
import pytest
import requests
import schemathesis
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, Case, GenerationMode, Response

from tests.clients.conftest import API_KEY
from tests.fakes.system import System

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "6"))
ASKS = {
    "/v1/chat/completions": ("ChatRequest", "ChatCompletionChunk"),
    "/v1/responses": ("ResponsesRequest", "ResponseEvent"),
}
"""What runs agents, and is worth more examples: its request, and an event of its stream."""
AGENT = "repeater"
NOBODY = "http://127.0.0.1:9/v1"
"""Where nothing listens: no made-up profile is to be asked for anywhere else."""
ENVELOPE = {"message", "type", "param", "code"}
OPEN = {"/alive", "/health", "/ready"}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    agents = {AGENT: {"model": "echo", "echo": {"words_per_second": 0}}}
    settings = {"secret_key": "a secret key of thirty-two bytes"}
    directory = tmp_path_factory.mktemp("fuzzed")
    with System(directory, {"agents": agents}, settings=settings, api_keys=(API_KEY,)) as system:
        yield system
        assert "Traceback" not in "".join(p.logged() for p in (*system.apis, *system.workers))


@pytest.fixture(scope="module")
def http(fuzzed: System) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {API_KEY}"}
    with httpx.Client(base_url=fuzzed.url(), headers=headers, timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> Any:
    """Asks agents that there are."""
    document = http.get("/openapi.json").json()
    wanted = {"Llm": "openai/gpt", **{request: AGENT for request, _ in ASKS.values()}}
    for name, model in wanted.items():
        document["components"]["schemas"][name]["properties"]["model"] = {"enum": [model]}
    return document


@pytest.fixture(scope="module")
def operations(document: Any) -> list[APIOperation]:
    schema = schemathesis.openapi.from_dict(document)
    return [result.ok() for result in schema.get_all_operations()]


def known(http: httpx.Client, path: str) -> dict[str, str]:
    """Parameters of the path that name something, made anew."""
    if "{" not in path:
        return {}
    asked = {"model": AGENT, "input": "Hello"}
    conversation = str(uuid4())
    turn = http.post("/v1/responses", json=asked, headers={"X-Conversation-ID": conversation})
    events = http.get(f"/api/conversations/{conversation}/events/search").json()["items"]
    items = http.get(f"/v1/conversations/{conversation}/items").json()["data"]
    later = http.post("/v1/responses", json={**asked, "background": True})
    kept = http.post(
        "/v1/chat/completions",
        json={"model": AGENT, "messages": [{"role": "user", "content": "Hello"}], "store": True},
    )
    http.post("/api/profiles/fuzzed", json={"llm": {"model": "openai/gpt", "base_url": NOBODY}})
    made = {
        "response_id": (later if path.endswith("/cancel") else turn).json()["id"],
        "completion_id": kept.json()["id"],
        "conversation_id": conversation,
        "item_id": items[0]["id"],
        "event_id": events[0]["id"],
        "name": "fuzzed",
        "model": AGENT,
    }
    return {name: value for name, value in made.items() if f"{{{name}}}" in path}


def tame(case: Case) -> None:
    """Asks nobody outside of this machine."""
    llm = case.body.get("llm") if isinstance(case.body, dict) else None
    if case.path.startswith("/api/profiles") and isinstance(llm, dict):
        llm["base_url"] = llm["ollama_base_url"] = NOBODY


def check(case: Case, reply: Response, document: Any) -> None:
    what = f"{case.as_curl_command()}\n{reply.status_code} {reply.text[:2000]}"
    assert reply.status_code < 500, what
    assert reply.headers["x-request-id"], what
    if reply.status_code >= 300:
        value = reply.json()
        assert value["error"].keys() == ENVELOPE, what
        assert value["error"]["message"] and value["error"]["type"], what
        assert ("detail" in value) == case.path.startswith("/api/"), what
    elif reply.headers["content-type"] != ["text/event-stream; charset=utf-8"]:
        case.operation.validate_response(reply)
    elif case.path in ASKS:
        schema = {"$ref": f"#/components/schemas/{ASKS[case.path][1]}"} | document
        # Not `splitlines`, which knows more ends of lines than the protocol does.
        for line in reply.text.split("\n"):
            if line.startswith("data: ") and line != "data: [DONE]":
                jsonschema.validate(json.loads(line.removeprefix("data: ")), schema)


def cases(operation: APIOperation, ids: dict[str, str]) -> Iterator[SearchStrategy[Case]]:
    """Right and wrong ones, of what there is and of what there is not."""
    for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
        if mode is GenerationMode.POSITIVE or operation.body or operation.query:
            yield operation.as_strategy(mode, path_parameters=ids)
        if ids:
            yield operation.as_strategy(mode)


def alike(operation: APIOperation) -> hypothesis.settings:
    """Always the same examples, on any machine."""
    return hypothesis.settings(
        max_examples=EXAMPLES * (5 if operation.path in ASKS else 1),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


@pytest.mark.timeout(900)
def test_whatever_is_asked_is_answered_in_a_known_shape(
    fuzzed: System,
    http: httpx.Client,
    document: Any,
    operations: list[APIOperation],
    subtests: pytest.Subtests,
) -> None:
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {API_KEY}"
        session.trust_env = False

        def ask(case: Case) -> None:
            tame(case)
            check(case, case.call(base_url=fuzzed.url(), session=session, timeout=60), document)

        for operation in operations:
            for case in cases(operation, known(http, operation.path)):
                # What takes any text in its path and nothing else cannot be asked wrongly.
                with subtests.test(operation.label), suppress(hypothesis.errors.Unsatisfiable):
                    alike(operation)(hypothesis.given(case)(ask))()


def test_nothing_but_health_is_told_without_a_key(
    fuzzed: System, http: httpx.Client, operations: list[APIOperation]
) -> None:
    for operation in operations:
        path = operation.path
        for name, value in known(http, path).items():
            path = path.replace(f"{{{name}}}", value)
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-session-api-key": "wrong"}):
            url = f"{fuzzed.url()}{path}"
            # Nor what would be wrong with what is sent.
            reply = httpx.request(operation.method, url, headers=headers, content="{", timeout=60)
            if path in OPEN:
                assert reply.status_code == 200
                continue
            assert reply.status_code == 401, f"{operation.label}: {reply.text}"
            assert reply.json()["error"].keys() == ENVELOPE
            assert reply.json()["error"]["code"] == "invalid_api_key"
