from typing import Any

import orjson
import pytest

from tests.api.chat_bodies import (
    MISSING,
    SHELL,
    TYPE,
    UNSUPPORTED,
    VALUE,
    WEATHER,
    allowed,
    body,
    calls,
    in_messages,
    named,
    problem,
)
from trunkline_api.errors import ApiError
from trunkline_api.wire.chat import ChatRequest, parse_chat


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"12", "must be a JSON object"),
        (b"\x00\x01\x02", "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (body() + b"x", "not valid JSON"),
        (body()[:-1], "not valid JSON"),
        (body()[:-1] + b',"x":01}', "not valid JSON"),
        (body()[:-1] + b',"x":NaN}', "not valid JSON"),
        (body()[:-1] + b',"x":-Infinity}', "not valid JSON"),
        (body()[:-1] + b',"temperature":NaN}', "not valid JSON"),
        (body()[:-1] + b',"x":"\xff"}', "not valid JSON"),
        (body()[:-1] + b',"x":"\\ud800"}', "not valid JSON"),
        (body()[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "not valid JSON"),
        (body()[:-1] + b',"x":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "not valid JSON"),
        (body()[:-1] + b',"seed":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"model=echo&messages=hi", "not valid JSON"),
        (body().decode().encode("utf-16"), "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes, words: str) -> None:
    error = problem(raw)
    assert words in error.message
    assert error.param is None


def test_words_that_only_look_like_extensions_of_json_pass() -> None:
    assert parse_chat(body(messages=[{"role": "user", "content": "NaN Infinity"}]))


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"model": None}, "model", TYPE),
        ({"model": 5}, "model", TYPE),
        ({"model": ""}, "model", VALUE),
        ({"messages": None}, "messages", TYPE),
        ({"messages": "hi"}, "messages", TYPE),
        ({"messages": {}}, "messages", TYPE),
        ({"messages": []}, "messages", VALUE),
        ({"frequency_penalty": 2.1}, "frequency_penalty", VALUE),
        ({"presence_penalty": -2.1}, "presence_penalty", VALUE),
        ({"logit_bias": {"50256": 101}}, "logit_bias", VALUE),
        ({"logit_bias": {"50256": True}}, "logit_bias", VALUE),
        ({"logit_bias": []}, "logit_bias", TYPE),
        ({"logprobs": 1}, "logprobs", TYPE),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", VALUE),
        ({"top_logprobs": 2}, "top_logprobs", VALUE),
        ({"top_logprobs": 2, "logprobs": False}, "top_logprobs", VALUE),
        ({"max_tokens": 0}, "max_tokens", VALUE),
        ({"max_tokens": 2**31}, "max_tokens", VALUE),
        ({"max_tokens": 1.5}, "max_tokens", TYPE),
        ({"max_completion_tokens": -1}, "max_completion_tokens", VALUE),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", VALUE),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", VALUE),
        ({"metadata": {"k" * 65: ""}}, "metadata", VALUE),
        ({"metadata": {"k": "v" * 513}}, "metadata", VALUE),
        ({"metadata": {"k": 1}}, "metadata", VALUE),
        ({"modalities": ["smell"]}, "modalities[0]", VALUE),
        ({"n": 0}, "n", VALUE),
        ({"n": 129}, "n", VALUE),
        ({"n": True}, "n", TYPE),
        ({"n": "1"}, "n", TYPE),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls", TYPE),
        ({"prediction": {"type": "guess", "content": "x"}}, "prediction.type", VALUE),
        ({"prediction": {"type": "content"}}, "prediction.content", MISSING),
        ({"reasoning_effort": "huge"}, "reasoning_effort", VALUE),
        ({"seed": 2**63}, "seed", VALUE),
        ({"service_tier": "gold"}, "service_tier", VALUE),
        ({"stop": []}, "stop", VALUE),
        ({"stop": ["a"] * 5}, "stop", VALUE),
        ({"stop": ["a", 1]}, "stop[1]", TYPE),
        ({"stop": 5}, "stop", TYPE),
        ({"stream": "true"}, "stream", TYPE),
        ({"stream_options": {}}, "stream_options", VALUE),
        ({"stream": True, "stream_options": []}, "stream_options", TYPE),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "stream_options.include_usage",
            TYPE,
        ),
        ({"temperature": 2.01}, "temperature", VALUE),
        ({"temperature": -0.1}, "temperature", VALUE),
        ({"temperature": "hot"}, "temperature", TYPE),
        ({"temperature": True}, "temperature", TYPE),
        ({"temperature": []}, "temperature", TYPE),
        ({"top_p": 1.1}, "top_p", VALUE),
        ({"user": 5}, "user", TYPE),
        ({"verbosity": "chatty"}, "verbosity", VALUE),
    ],
)
def test_a_member_out_of_its_range_is_named(members: dict[str, Any], param: str, code: str) -> None:
    error = problem(body(**members))
    assert (error.param, error.code) == (param, code)
    assert param in error.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_required_member_that_is_absent_is_named(missing: str) -> None:
    members = orjson.loads(body())
    del members[missing]
    error = problem(orjson.dumps(members))
    assert (error.param, error.code) == (missing, MISSING)


@pytest.mark.parametrize(
    ("members", "param", "fix"),
    [
        ({"n": 2}, "n", "send 1"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "leave it out"),
        ({"modalities": ["text", "audio"]}, "modalities", "leave it out"),
        ({"functions": [{"name": "f"}]}, "functions", "'tools'"),
        ({"function_call": "auto"}, "function_call", "'tool_choice'"),
        ({"web_search_options": {}}, "web_search_options", "leave this out"),
        ({"moderation": {"model": "x"}}, "moderation", "leave it out"),
    ],
)
def test_what_this_server_does_not_do_is_refused_with_the_way_out(
    members: dict[str, Any], param: str, fix: str
) -> None:
    error = problem(body(**members))
    assert (error.param, error.code) == (param, UNSUPPORTED)
    assert fix in error.message


def test_integers_that_cannot_be_passed_on_are_refused_wherever_they_hide() -> None:
    huge = b"1" + b"0" * 40
    hidden = {
        "tools[0].function.parameters": b'"tools":[{"type":"function","function":'
        b'{"name":"f","parameters":{"a":[{"b":' + huge + b"}]}}}]",
        "response_format.json_schema.schema": b'"response_format":{"type":"json_schema",'
        b'"json_schema":{"name":"s","schema":{"maximum":' + huge + b"}}}",
        "prompt_cache_options": b'"prompt_cache_options":{"ttl":' + huge + b"}",
        "prediction.content[0]": b'"prediction":{"type":"content","content":[{"a":' + huge + b"}]}",
    }
    for param, member in hidden.items():
        error = problem(body()[:-1] + b"," + member + b"}")
        assert error.param == param
        assert "64 bits" in error.message


def test_a_body_with_a_million_mistakes_is_answered_with_the_first() -> None:
    many = b",".join([b"0"] * 1_000_000)
    assert problem(b'{"model":"m","messages":[' + many + b"]}").param == "messages[0]"
    assert problem(body()[:-1] + b',"stop":[' + many + b"]}").param == "stop[0]"


def test_a_long_name_from_the_client_is_not_sent_back_whole() -> None:
    error = problem(body(metadata={"k" * 100_000: "v"}))
    assert len(error.message) < 400


@pytest.mark.parametrize("member", sorted(set(ChatRequest.model_fields) - {"model", "messages"}))
def test_an_optional_member_that_is_null_counts_as_absent(member: str) -> None:
    assert parse_chat(body(**{member: None})) == parse_chat(body())


@pytest.mark.parametrize(
    "members",
    [
        {"x_unknown": {"a": [1, None]}, "reasoning": {"effort": "low"}, "provider": "x"},
        {"store": False, "modalities": ["text"], "n": 1, "tools": [], "stop": "END"},
        {"max_tokens": 7, "max_completion_tokens": 7},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"temperature": 0, "top_p": 1, "frequency_penalty": -2, "presence_penalty": 2},
        {"logprobs": True, "top_logprobs": 20, "logit_bias": {"1": -100, "2": 0.5}},
        {"tools": [WEATHER, SHELL], "tool_choice": named("shell", "custom")},
        {"tools": [WEATHER, SHELL], "tool_choice": allowed(named("weather"), mode="required")},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        {"service_tier": "flex", "verbosity": "low", "prompt_cache_retention": "24h"},
        {"metadata": {"k" * 64: "v" * 512}, "user": "u", "safety_identifier": "s", "seed": -1},
        in_messages({"role": "user", "content": "x", "refusal": 7, "cache_control": {}}),
        in_messages({"role": "assistant", "content": ""}),
        in_messages({"role": "assistant", "refusal": "no"}),
        in_messages({"role": "assistant", "content": None, "reasoning_content": "hm"}),
        in_messages({"role": "assistant", "content": "x", "audio": None, "function_call": None}),
        calls(id="a", function={"name": "f", "arguments": ""}, extra_content={"google": {}}),
        in_messages({"role": "tool", "tool_call_id": "a", "content": [], "name": "f"}),
        in_messages(
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "f", "arguments": "{}"},
            },
            {"role": "function", "name": "f", "content": None},
        ),
    ],
)
def test_what_clients_really_send_is_accepted(members: dict[str, Any]) -> None:
    parse_chat(body(**members))


GARBAGE: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**12,
    "",
    "x",
    "\u0000",
    [],
    [None],
    {},
    {"type": 1},
]


@pytest.mark.parametrize("member", sorted(ChatRequest.model_fields))
def test_garbage_in_any_member_is_accepted_or_a_400_about_that_member(member: str) -> None:
    for value in GARBAGE:
        try:
            parse_chat(body(**{member: value}))
        except ApiError as error:
            assert error.status == 400
            assert error.param is not None
            assert error.param.startswith((member, "max_", "stream_options"))


def test_garbage_inside_messages_tools_and_format_is_never_anything_but_a_400() -> None:
    whole = orjson.loads(
        body(
            **calls(id="a", type="function", function={"name": "f", "arguments": "{}"}),
            tools=[WEATHER, SHELL],
            tool_choice=allowed(named("weather")),
            response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        )
    )
    for damaged in _damaged(whole):
        try:
            parse_chat(orjson.dumps(damaged))
        except ApiError as error:
            assert error.status == 400


def _damaged(value: Any) -> list[Any]:
    """`value` with each of its members replaced by each piece of garbage, one at a time."""
    found: list[Any] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += [{**value, key: garbage} for garbage in (*GARBAGE, *_damaged(inner))]
            found.append({other: value[other] for other in value if other != key})
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for garbage in (*GARBAGE, *_damaged(inner)):
                found.append([*value[:index], garbage, *value[index + 1 :]])
    return found
