"""Requests made up from our own OpenAPI document: right ones, wrong ones, and those without a key.

`FUZZ_EXAMPLES=300 pytest tests/clients/test_fuzz.py` makes more of them than the suite does.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, Case, GenerationMode, Response

from tests.clients.conftest import API_KEY
from tests.fakes.system import System

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
AGENT = "repeater"
NOBODY = "http://127.0.0.1:9/v1"
"""Where nothing listens: no made-up profile is to be asked for anywhere else."""
ENVELOPE = {"message", "type", "param", "code"}
OPEN = {"/alive", "/health", "/ready"}
ALIKE = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
"""Always the same ones, on any machine."""


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
def operations(http: httpx.Client) -> list[APIOperation]:
    """What asks for a run asks an agent that there is."""
    document = http.get("/openapi.json").json()
    for request in ("ChatRequest", "ResponsesRequest"):
        document["components"]["schemas"][request]["properties"]["model"] = {"enum": [AGENT]}
    schema = schemathesis.openapi.from_dict(document)
    return [result.ok() for result in schema.get_all_operations()]


def known(http: httpx.Client, path: str) -> dict[str, str]:
    """Parameters of the path that name something, made anew."""
    response = {"model": AGENT, "input": "Hello"}
    conversation = str(uuid4())
    http.post("/v1/responses", json=response, headers={"X-Conversation-ID": conversation})
    profile = {"llm": {"model": "openai/gpt", "base_url": NOBODY}}
    http.post("/api/profiles/fuzzed", json=profile)
    made = {
        "response_id": http.post("/v1/responses", json=response).json()["id"],
        "conversation_id": conversation,
        "name": "fuzzed",
        "model": AGENT,
        "event_id": "0",
    }
    return {name: value for name, value in made.items() if f"{{{name}}}" in path}


def tame(case: Case) -> None:
    """Asks nobody outside of this machine."""
    body = case.body
    llm = body.get("llm") if isinstance(body, dict) else None
    if case.path.startswith("/api/profiles") and isinstance(llm, dict):
        llm["base_url"] = llm["ollama_base_url"] = NOBODY


def check(case: Case, reply: Response) -> None:
    what = f"{case.as_curl_command()}\n{reply.status_code} {reply.text[:2000]}"
    assert reply.status_code < 500, what
    assert reply.headers["x-request-id"], what
    if reply.status_code < 300:
        case.operation.validate_response(reply)
        return
    value = reply.json()
    assert value["error"].keys() == ENVELOPE, what
    assert value["error"]["message"] and value["error"]["type"], what
    assert ("detail" in value) == case.path.startswith("/api/"), what


def cases(operation: APIOperation, ids: dict[str, str]) -> Iterator[SearchStrategy[Case]]:
    """Right and wrong ones, of what there is and of what there is not."""
    for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
        if mode is GenerationMode.POSITIVE or operation.body or operation.query:
            yield operation.as_strategy(mode, path_parameters=ids)
        if ids:
            yield operation.as_strategy(mode)


def test_whatever_is_asked_is_answered_in_a_known_shape(
    fuzzed: System, http: httpx.Client, operations: list[APIOperation], subtests: pytest.Subtests
) -> None:
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {API_KEY}"
        session.trust_env = False

        def ask(case: Case) -> None:
            tame(case)
            check(case, case.call(base_url=fuzzed.url(), session=session, timeout=60))

        for operation in operations:
            for case in cases(operation, known(http, operation.path)):
                # What takes any text in its path and nothing else cannot be asked wrongly.
                with subtests.test(operation.label), suppress(hypothesis.errors.Unsatisfiable):
                    ALIKE(hypothesis.given(case)(ask))()


def test_nothing_but_health_is_told_without_a_key(
    fuzzed: System, http: httpx.Client, operations: list[APIOperation]
) -> None:
    for operation in operations:
        path = operation.path
        for name, value in known(http, path).items():
            path = path.replace(f"{{{name}}}", value)
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-session-api-key": "wrong"}):
            url = f"{fuzzed.url()}{path}"
            reply = httpx.request(operation.method, url, headers=headers, timeout=60)
            if path in OPEN:
                assert reply.status_code == 200
                continue
            assert reply.status_code == 401, f"{operation.label}: {reply.text}"
            assert reply.json()["error"].keys() == ENVELOPE
            assert reply.json()["error"]["code"] == "invalid_api_key"
