from typing import Any

import orjson
import pytest

from tests.api.responses_bodies import (
    MISSING,
    SEARCH,
    SHELL,
    SPACE,
    TYPE,
    UNSUPPORTED,
    VALUE,
    WEATHER,
    body,
    items,
    more,
    parts,
    problem,
    schema,
)
from trunkline_api.wire.response_items import OPAQUE_TYPES
from trunkline_api.wire.responses import ResponsesRequest, parse_responses

CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
BAD_SCHEMA = "invalid_json_schema"
RESULT = {"type": "function_call_output", "call_id": "c", "output": "ok"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (body()[:-1] + b',"x":NaN}', "not valid JSON"),
        (body()[:-1] + b',"x":"\\ud800"}', "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes, words: str) -> None:
    error = problem(raw)
    assert words in error.message
    assert error.param is None


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"model": None}, "model", TYPE),
        ({"model": ""}, "model", VALUE),
        ({"input": None}, "input", VALUE),
        ({"input": 5}, "input", TYPE),
        ({"input": {}}, "input", TYPE),
        ({"input": []}, "input", VALUE),
        ({"include": ["everything"]}, "include[0]", VALUE),
        ({"include": "x"}, "include", TYPE),
        ({"instructions": []}, "instructions", TYPE),
        ({"max_output_tokens": 15}, "max_output_tokens", VALUE),
        ({"max_output_tokens": 16.5}, "max_output_tokens", TYPE),
        ({"max_tool_calls": 0}, "max_tool_calls", VALUE),
        ({"metadata": {"a": 1}}, "metadata", VALUE),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", VALUE),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls", TYPE),
        ({"previous_response_id": ""}, "previous_response_id", VALUE),
        ({"previous_response_id": 5}, "previous_response_id", TYPE),
        ({"prompt_cache_options": {"a": 2**70}}, "prompt_cache_options", VALUE),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", VALUE),
        ({"reasoning": {"summary": 1}}, "reasoning.summary", VALUE),
        ({"service_tier": "gold"}, "service_tier", VALUE),
        ({"store": "no"}, "store", TYPE),
        ({"stream": 1}, "stream", TYPE),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", VALUE),
        ({"temperature": 2.1}, "temperature", VALUE),
        ({"top_logprobs": 21}, "top_logprobs", VALUE),
        ({"top_p": -0.1}, "top_p", VALUE),
        ({"truncation": "middle"}, "truncation", VALUE),
        ({"text": {"verbosity": "loud"}}, "text.verbosity", VALUE),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", VALUE),
        ({"text": {"format": {}}}, "text.format.type", MISSING),
        (schema(name=None), "text.format.name", TYPE),
        (schema(name="a b"), "text.format.name", VALUE),
        (schema(schema="x"), "text.format.schema", TYPE),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", MISSING),
        (schema(schema={"anyOf": []}, strict=True), "text.format.schema", BAD_SCHEMA),
        (
            schema(schema={"type": "array"}, strict=True),
            "text.format.schema",
            "invalid_json_schema",
        ),
    ],
)
def test_a_wrong_member_is_named(members: dict[str, Any], param: str, code: str) -> None:
    error = problem(body(**members))
    assert (error.param, error.code) == (param, code)
    assert param in error.message


def test_what_is_missing_is_named() -> None:
    assert problem(b'{"input":"hi"}').param == "model"
    error = problem(b'{"model":"echo"}')
    assert (error.param, error.code) == ("input", MISSING)


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        (items("text"), "input[1]", TYPE),
        (items({}), "input[1].role", MISSING),
        (items({"role": "tool", "content": "x"}), "input[1].role", VALUE),
        (items({"role": "user"}), "input[1].content", MISSING),
        (items({"role": "user", "content": []}), "input[1].content", VALUE),
        (items({"role": "assistant", "content": 5}), "input[1].content", TYPE),
        (items({"type": "hologram"}), "input[1].type", VALUE),
        (items({"type": 5}), "input[1].type", VALUE),
        (items({"type": "item_reference", "id": ""}), "input[1].id", VALUE),
        (items({**CALL, "call_id": ""}), "input[1].call_id", VALUE),
        (items({**CALL, "arguments": {}}), "input[1].arguments", TYPE),
        (items({**RESULT, "output": None}), "input[1].output", TYPE),
        (items({**RESULT, "output": [{"type": "x"}]}), "input[1].output[0].type", VALUE),
        (items({"type": "custom_tool_call", "call_id": "c"}), "input[1].name", MISSING),
        (items({"type": "reasoning", "summary": "x"}), "input[1].summary", TYPE),
        (items({"type": "mcp_list_tools", "x": 2**70}), "input[1]", VALUE),
        (parts({"type": "text", "text": "x"}), "input[0].content[0].type", VALUE),
        (parts({"text": "x"}), "input[0].content[0].type", MISSING),
        (parts({"type": "input_text"}), "input[0].content[0].text", MISSING),
        (parts({"type": "refusal", "refusal": "x"}), "input[0].content[0].type", VALUE),
        (parts({"type": "input_image"}), "input[0].content[0].image_url", VALUE),
        (
            parts({"type": "input_image", "file_id": "f"}),
            "input[0].content[0].file_id",
            UNSUPPORTED,
        ),
        (parts({"type": "input_file", "file_id": "f"}), "input[0].content[0].file_id", UNSUPPORTED),
        (parts({"type": "input_file"}), "input[0].content[0].file_data", VALUE),
        (
            parts({"type": "input_file", "file_url": "https://a.example/b"}),
            "input[0].content[0].file_url",
            UNSUPPORTED,
        ),
        (
            items({"role": "assistant", "content": [{"type": "refusal", "refusal": 5}]}),
            "input[1].content[0].refusal",
            TYPE,
        ),
        (
            items({**RESULT, "output": [{"type": "input_image"}]}),
            "input[1].output[0].image_url",
            VALUE,
        ),
    ],
)
def test_a_wrong_item_is_named(members: dict[str, Any], param: str, code: str) -> None:
    error = problem(body(**members))
    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        ({"tools": {}}, "tools", TYPE),
        *(
            ({"tools": [{"type": kind}]}, "tools[0].type", VALUE)
            for kind in (
                *("apply_patch", "code_interpreter", "computer", "computer_use_preview"),
                *("file_search", "image_generation", "mcp", "programmatic_tool_calling", "shell"),
            )
        ),
        ({"tools": [{**SPACE, "name": "a b"}]}, "tools[0].name", VALUE),
        ({"tools": [{**SPACE, "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type", VALUE),
        ({"tools": [{**SPACE, "x": 2**70}]}, "tools[0]", VALUE),
        ({"tools": [SPACE, {**WEATHER, "name": "crm__weather"}]}, "tools[1].name", VALUE),
        ({"tools": [{**SPACE, "name": "x" * 126}]}, "tools[0].tools[0].name", VALUE),
        ({"tools": [{"name": "f"}]}, "tools[0].type", MISSING),
        ({"tools": [{"type": "function"}]}, "tools[0].name", MISSING),
        ({"tools": [{**WEATHER, "name": "a b"}]}, "tools[0].name", VALUE),
        ({"tools": [{**WEATHER, "parameters": "x"}]}, "tools[0].parameters", TYPE),
        ({"tools": [{**SEARCH, "x": 2**70}]}, "tools[0]", VALUE),
        ({"tools": [WEATHER, {**SHELL, "name": "weather"}]}, "tools[1].name", VALUE),
        (items({"type": "additional_tools"}), "input[1].tools", MISSING),
        (items(more({"type": "mcp"})), "input[1].tools[0].type", VALUE),
        (items(more({**WEATHER, "name": "a b"})), "input[1].tools[0].name", VALUE),
        (items(more(WEATHER, WEATHER)), "input[1].tools[1].name", VALUE),
        (items(more({**SHELL, "name": "weather"})) | {"tools": [WEATHER]}, "tools[1].name", VALUE),
        ({"tool_choice": "required"}, "tool_choice", VALUE),
        ({"tool_choice": "required", "tools": [SEARCH]}, "tool_choice", VALUE),
        ({"tool_choice": "maybe", "tools": [WEATHER]}, "tool_choice", VALUE),
        ({"tool_choice": {"type": "mcp"}, "tools": [WEATHER]}, "tool_choice", VALUE),
        (
            {"tool_choice": {"type": "custom", "name": "weather"}, "tools": [WEATHER]},
            "tool_choice",
            VALUE,
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "news"}],
                },
                "tools": [WEATHER],
            },
            "tool_choice.tools[0]",
            VALUE,
        ),
    ],
)
def test_a_wrong_tool_is_named(members: dict[str, Any], param: str, code: str) -> None:
    error = problem(body(**members))
    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("access_programs", {"cyber": "standard"}),
        ("background_options", {"completion_window": "2h"}),
        ("image", {"context_compression": "auto"}),
        ("moderation", {"model": "m"}),
        ("prompt", {"id": "p"}),
    ],
)
def test_what_is_not_there_is_refused_by_its_name(param: str, value: Any) -> None:
    error = problem(body(**{param: value}))
    assert (error.param, error.code) == (param, UNSUPPORTED)


EVERYTHING: dict[str, Any] = {
    "background": False,
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "max_output_tokens": 16,
    "metadata": {"a": "b"},
    "reasoning": {"effort": "high", "summary": "auto", "context": "auto"},
    "store": False,
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "tools": [WEATHER, SHELL, SEARCH, SPACE],
    "tool_choice": "auto",
    "truncation": "disabled",
    "client_metadata": {"x": 1},
    "unheard_of": [1, 2],
}


def test_a_request_with_all_that_coding_agents_send_is_read() -> None:
    request = parse_responses(body(**EVERYTHING))
    assert request.stream and not request.is_stored and request.wants_logprobs
    assert [tool.type for tool in request.tools or ()] == [
        "function",
        "custom",
        "web_search",
        "namespace",
    ]


def test_null_counts_as_absent() -> None:
    nothing = {
        name: None for name in ResponsesRequest.model_fields if name not in ("model", "input")
    }
    request = parse_responses(body(**nothing))
    assert request.is_stored and not request.stream and not request.wants_logprobs


def test_a_response_is_stored_unless_it_says_otherwise() -> None:
    assert parse_responses(body()).is_stored
    assert not parse_responses(body(store=False)).is_stored


@pytest.mark.parametrize("kind", sorted(OPAQUE_TYPES))
def test_items_of_openais_own_tools_are_kept_as_they_came(kind: str) -> None:
    item = {"type": kind, "id": "x", "anything": [1, {"a": None}]}
    [_, kept] = parse_responses(body(**items(item))).input
    assert kept == item


@pytest.mark.parametrize("about", [{"previous_response_id": "resp_1"}, {"conversation": "x"}])
def test_where_there_is_something_to_answer_no_input_is_needed(about: dict[str, str]) -> None:
    for raw in (body(input=[], **about), body(input=None, **about), without_input(**about)):
        assert parse_responses(raw).input == []


def without_input(**members: Any) -> bytes:
    return orjson.dumps({"model": "echo", **members})


def test_a_choice_without_consequence_needs_no_tools() -> None:
    for choice in ("auto", "none"):
        assert parse_responses(body(tool_choice=choice, tools=[])).tool_choice == choice


def test_a_large_input_with_many_mistakes_is_refused_with_one() -> None:
    raw = orjson.dumps({"model": "echo", "input": [{"role": "user"}] * 50_000})
    assert problem(raw).param == "input[0].content"
