from typing import Any

import pytest

from tests.api.chat_bodies import (
    MISSING,
    TYPE,
    UNSUPPORTED,
    VALUE,
    WEATHER,
    allowed,
    body,
    calls,
    in_messages,
    in_parts,
    named,
    problem,
)

STRICT_LIST = {"name": "s", "schema": {"type": "array"}, "strict": True}


@pytest.mark.parametrize(
    ("members", "param", "code"),
    [
        (in_messages("hi"), "messages[1]", TYPE),
        (in_messages(None), "messages[1]", TYPE),
        (in_messages({}), "messages[1].role", MISSING),
        (in_messages({"role": "robot", "content": "x"}), "messages[1].role", VALUE),
        (in_messages({"role": "user"}), "messages[1].content", MISSING),
        (in_messages({"role": "user", "content": None}), "messages[1].content", TYPE),
        (in_messages({"role": "user", "content": 5}), "messages[1].content", TYPE),
        (in_messages({"role": "user", "content": {}}), "messages[1].content", TYPE),
        (in_messages({"role": "user", "user": [1], "content": 5}), "messages[1].content", TYPE),
        (in_messages({"role": "system", "content": []}), "messages[1].content", VALUE),
        (in_messages({"role": "developer", "content": [1]}), "messages[1].content[0]", TYPE),
        (in_parts(), "messages[1].content", VALUE),
        (in_parts("x"), "messages[1].content[0]", TYPE),
        (in_parts({"text": "x"}), "messages[1].content[0].type", MISSING),
        (in_parts({"type": "video"}), "messages[1].content[0].type", VALUE),
        (in_parts({"type": "text"}), "messages[1].content[0].text", MISSING),
        (in_parts({"type": "text", "text": 1}), "messages[1].content[0].text", TYPE),
        (
            in_parts({"type": "text", "text": "a"}, {"type": "image_url"}),
            "messages[1].content[1].image_url",
            MISSING,
        ),
        (
            in_parts({"type": "image_url", "image_url": {}}),
            "messages[1].content[0].image_url.url",
            MISSING,
        ),
        (
            in_parts({"type": "image_url", "image_url": {"url": "https://x/y", "detail": "4k"}}),
            "messages[1].content[0].image_url.detail",
            VALUE,
        ),
        (
            in_parts({"type": "input_audio", "input_audio": {"data": "x", "format": "ogg"}}),
            "messages[1].content[0].input_audio.format",
            VALUE,
        ),
        (
            in_parts({"type": "file", "file": {"filename": "a"}}),
            "messages[1].content[0].file.file_data",
            VALUE,
        ),
        (in_messages({"role": "tool", "content": "x"}), "messages[1].tool_call_id", MISSING),
        (
            in_messages({"role": "tool", "content": None, "tool_call_id": "a"}),
            "messages[1].content",
            TYPE,
        ),
        (
            in_messages({"role": "function", "content": "x", "name": "f"}),
            "messages[1].name",
            VALUE,
        ),
        (in_messages({"role": "assistant"}), "messages[1].content", VALUE),
        (in_messages({"role": "assistant", "content": None}), "messages[1].content", VALUE),
        (in_messages({"role": "assistant", "content": []}), "messages[1].content", VALUE),
        (
            in_messages({"role": "assistant", "content": "x", "audio": {"id": "a"}}),
            "messages[1].audio",
            UNSUPPORTED,
        ),
        (calls(type="function"), "messages[1].tool_calls[0].id", MISSING),
        (calls(id="a", type="function"), "messages[1].tool_calls[0].function", MISSING),
        (calls(id="a", type="custom"), "messages[1].tool_calls[0].custom", MISSING),
        (
            calls(id="a", function={"name": "f", "arguments": {}}),
            "messages[1].tool_calls[0].function.arguments",
            TYPE,
        ),
    ],
)
def test_a_message_that_is_wrong_is_named_down_to_its_member(
    members: dict[str, Any], param: str, code: str
) -> None:
    error = problem(body(**members))
    assert (error.param, error.code) == (param, code)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [named("no spaces")]}, "tools[0].function.name"),
        ({"tools": [named("n" * 129)]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].function.name"),
        ({"tools": [WEATHER, named("weather", "custom")]}, "tools[1].custom.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": "none", "tools": []}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "x"}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [WEATHER], "tool_choice": named("other")}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": named("weather", "custom")}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": allowed(named("weather"), named("b"))},
            "tool_choice.allowed_tools.tools[1]",
        ),
        ({"tools": [WEATHER], "tool_choice": allowed()}, "tool_choice.allowed_tools.tools"),
        (
            {"tools": [WEATHER], "tool_choice": allowed(named("weather"), mode="none")},
            "tool_choice.allowed_tools.mode",
        ),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": STRICT_LIST}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_tools_choice_and_format_that_are_wrong_are_named(
    members: dict[str, Any], param: str
) -> None:
    assert problem(body(**members)).param == param
