"""Every request field of chat completions: applied, accepted without effect, or refused by name."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.conftest import API_KEY
from tests.fakes.system import System

Json = dict[str, Any]
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CUSTOM = {"type": "custom", "custom": {"name": "shell"}}
SCHEMA = {"name": "answer", "schema": {"type": "object"}, "strict": True}
ALLOWED = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]}

APPLIED: list[Json] = [
    {"temperature": 0.25},
    {"top_p": 0.5},
    {"frequency_penalty": -1.5},
    {"presence_penalty": 2},
    {"logit_bias": {"50256": -100}},
    {"logprobs": True, "top_logprobs": 3},
    {"max_completion_tokens": 9},
    {"stop": ["one", "two", "three", "four"]},
    {"seed": 7},
    {"user": "ana"},
    {"safety_identifier": "hash"},
    {"service_tier": "flex"},
    {"verbosity": "low"},
    {"prompt_cache_key": "k"},
    {"prompt_cache_retention": "24h"},
    {"prompt_cache_options": {"ttl": "1h"}},
    {"prediction": {"type": "content", "content": "as before"}},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    {"tools": [FUNCTION, CUSTOM], "parallel_tool_calls": False},
    {"tools": [FUNCTION], "tool_choice": "none"},
    {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "look"}}},
    {"tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "shell"}}},
    {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}},
    *({"reasoning_effort": each} for each in ("none", "minimal", "low", "medium", "high")),
    *({"reasoning_effort": each} for each in ("xhigh", "max")),
]

TRANSLATED: list[tuple[Json, Json]] = [
    ({"max_tokens": 9}, {"max_completion_tokens": 9}),
    ({"max_tokens": 9, "max_completion_tokens": 9}, {"max_completion_tokens": 9}),
    ({"stop": "end"}, {"stop": ["end"]}),
]

WITHOUT_EFFECT: list[Json] = [
    {"n": 1},
    {"store": False},
    {"store": True},
    {"metadata": {"team": "blue"}},
    {"modalities": ["text"]},
    {"response_format": {"type": "text"}},
    {"stream": False},
    {"nobody_knows_this": {"deeply": [1, None]}, "previous_response_id": "x"},
    {"temperature": None, "tools": None, "tool_choice": None, "stream": None, "n": None},
    {"functions": None, "function_call": None, "audio": None, "web_search_options": None},
    {"stop": None, "metadata": None, "response_format": None, "stream_options": None},
]

REFUSED: list[tuple[str, Json]] = [
    ("n", {"n": 2}),
    ("audio", {"audio": {"voice": "ash", "format": "mp3"}, "modalities": ["text", "audio"]}),
    ("modalities", {"modalities": ["text", "audio"]}),
    ("functions", {"functions": [{"name": "f"}]}),
    ("function_call", {"function_call": "auto"}),
    ("web_search_options", {"web_search_options": {}}),
    ("moderation", {"moderation": {"model": "m"}}),
]

WRONG: list[tuple[str, Json]] = [
    ("model", {"model": 5}),
    ("model", {"model": ""}),
    ("messages", {"messages": "hello"}),
    ("messages", {"messages": []}),
    ("messages[0].content", {"messages": [{"role": "user"}]}),
    ("messages[0].role", {"messages": [{"content": "who?"}]}),
    ("messages[0].tool_call_id", {"messages": [{"role": "tool", "content": "x"}]}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "x"}]}]}),
    ("n", {"n": 129}),
    ("temperature", {"temperature": 2.1}),
    ("temperature", {"temperature": "hot"}),
    ("top_p", {"top_p": -0.1}),
    ("frequency_penalty", {"frequency_penalty": 3}),
    ("presence_penalty", {"presence_penalty": -3}),
    ("logprobs", {"logprobs": 5}),
    ("top_logprobs", {"top_logprobs": 21, "logprobs": True}),
    ("top_logprobs", {"top_logprobs": 2}),
    ("logit_bias", {"logit_bias": {"1": 101}}),
    ("max_completion_tokens", {"max_completion_tokens": 0}),
    ("max_tokens", {"max_tokens": -1}),
    ("metadata", {"metadata": {str(number): "x" for number in range(17)}}),
    ("metadata", {"metadata": {"k" * 65: "x"}}),
    ("metadata", {"metadata": {"k": "x" * 513}}),
    ("reasoning_effort", {"reasoning_effort": "heroic"}),
    ("response_format.type", {"response_format": {"type": "yaml"}}),
    ("response_format.json_schema", {"response_format": {"type": "json_schema"}}),
    ("stop", {"stop": ["1", "2", "3", "4", "5"]}),
    ("stream", {"stream": "yes"}),
    ("stream_options", {"stream_options": {"include_usage": True}}),
    ("tools[0].type", {"tools": [{"type": "retrieval"}]}),
    ("tools[0].function.name", {"tools": [{"type": "function", "function": {"name": "a b"}}]}),
    ("tool_choice", {"tool_choice": "auto"}),
    ("tool_choice", {"tools": [FUNCTION], "tool_choice": CUSTOM}),
    ("verbosity", {"verbosity": "chatty"}),
    ("service_tier", {"service_tier": "gold"}),
]


@pytest.fixture(scope="module")
def http(system: System) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {API_KEY}"}
    with httpx.Client(base_url=system.base_url(), headers=headers, timeout=60) as http:
        yield http


def post(http: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"model": "echo-request", "messages": [{"role": "user", "content": "hi"}], **fields}
    return http.post("/chat/completions", json=body)


def reached(http: httpx.Client, **fields: Any) -> Json:
    """The body that reached the upstream."""
    reply = post(http, **fields)
    assert reply.status_code == 200, reply.text
    body: Json = json.loads(reply.json()["choices"][0]["message"]["content"])
    return body


def assert_refused(reply: httpx.Response, param: str | None, status: int = 400) -> None:
    assert reply.status_code == status, reply.text
    assert reply.headers["x-request-id"]
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert error["message"]


def named(fields: Json) -> str:
    return json.dumps(fields)[:60]


@pytest.mark.parametrize("fields", APPLIED, ids=named)
def test_a_field_that_the_upstream_knows_reaches_it(http: httpx.Client, fields: Json) -> None:
    assert fields.items() <= reached(http, **fields).items()


@pytest.mark.parametrize(("fields", "sent"), TRANSLATED, ids=named)
def test_old_spellings_reach_it_as_the_new_ones(
    http: httpx.Client, fields: Json, sent: Json
) -> None:
    body = reached(http, **fields)
    assert sent.items() <= body.items()
    assert body.keys() - sent.keys() == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("fields", WITHOUT_EFFECT, ids=named)
def test_a_field_without_effect_is_accepted(http: httpx.Client, fields: Json) -> None:
    assert reached(http, **fields) == reached(http)


@pytest.mark.parametrize(
    "options", [{"include_obfuscation": True}, {"include_usage": False}, {}, {"unknown": 1}]
)
def test_stream_options_are_accepted_in_a_stream(http: httpx.Client, options: Json) -> None:
    reply = post(http, stream=True, stream_options=options)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in reply.text.replace('\\"', "")


@pytest.mark.parametrize(("param", "fields"), REFUSED, ids=str)
def test_what_is_not_supported_is_refused_by_name(
    http: httpx.Client, param: str, fields: Json
) -> None:
    reply = post(http, **fields)
    assert_refused(reply, param)
    assert reply.json()["error"]["code"] == "unsupported_parameter"


@pytest.mark.parametrize(("param", "fields"), WRONG, ids=lambda each: str(each)[:60])
def test_a_wrong_value_is_refused_by_name(http: httpx.Client, param: str, fields: Json) -> None:
    assert_refused(post(http, **fields), param)


def test_the_service_tier_that_served_is_in_the_reply(http: httpx.Client) -> None:
    assert post(http, service_tier="auto").json()["service_tier"] == "default"


def test_old_function_messages_in_a_transcript_become_tool_messages(http: httpx.Client) -> None:
    call = {"name": "look", "arguments": "{}"}
    transcript = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "look", "content": "a wall"},
    ]
    _, asked, answered = reached(http, messages=transcript)["messages"]
    assert asked["tool_calls"][0]["function"] == call
    assert answered["role"] == "tool"
    assert answered["tool_call_id"] == asked["tool_calls"][0]["id"]


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"text"', '{"model": NaN}', "\ud800x"])
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, body: str) -> None:
    reply = http.post("/chat/completions", content=body.encode(errors="surrogatepass"))
    assert_refused(reply, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/chat/completions", 405),
        ("POST", "/models", 405),
        ("POST", "/embeddings", 404),
        ("GET", "/nothing/here", 404),
        ("POST", "/completions", 404),
        ("GET", "/models/nobody%2Fhere", 404),
    ],
)
def test_other_routes_answer_in_openais_envelope(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    reply = http.request(method, path)
    assert_refused(reply, "model" if path.startswith("/models/") else None, status)


def test_the_session_header_opens_the_door_too(http: httpx.Client, system: System) -> None:
    url = f"{system.base_url()}/models"
    assert httpx.get(url, headers={"x-session-api-key": API_KEY}).status_code == 200
    assert httpx.get(url).status_code == 401
