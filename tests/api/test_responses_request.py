from typing import Any

import pytest

from tests.api.responses_bodies import (
    ASKS,
    SCHEMA,
    SEARCH,
    SHELL,
    WEATHER,
    body,
    items,
    parts,
    schema,
)
from trunkline_api.errors import ApiError
from trunkline_api.responses_echo import echo
from trunkline_api.responses_request import fill_in, input_items
from trunkline_api.wire.responses import parse_responses
from trunkline_shared.run import RunRequest, decode_job, encode_job, new_run_id
from trunkline_shared.transcript import Item

RUN_ID = new_run_id()
PNG = "data:image/png;base64,AAAA"
PDF = "data:application/pdf;base64,AAAA"
HI: Item = {"type": "message", "role": "user", "content": [{"type": "text", "text": "hi"}]}
BEFORE: list[Item] = [
    {"type": "message", "role": "user", "content": [{"type": "text", "text": "before"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "said"}]},
]


def run(conversation: str = "", before: Any = (), **members: Any) -> RunRequest:
    asked = RunRequest(RUN_ID, "echo", principal="tester", conversation=conversation)
    fill_in(asked, parse_responses(body(**members)), before)
    assert decode_job(asked.run_id, encode_job(asked)) == asked
    return asked


def only_item(item: Any) -> Item:
    [_, neutral] = input_items(parse_responses(body(**items(item))))
    return neutral


def test_a_plain_request_asks_for_nothing_but_the_answer() -> None:
    asked = run()
    assert asked.transcript == [HI]
    assert (asked.options, asked.tools, asked.tool_choice, asked.format) == ({}, [], None, None)
    assert (asked.stream, asked.store, asked.on_lost) == (False, True, "continue")
    assert (asked.run_id, asked.principal) == (RUN_ID, "tester")
    assert run(stream=True, store=False).stream and not run(store=False).store


def test_instructions_are_no_part_of_what_is_remembered() -> None:
    members: dict[str, Any] = {"instructions": "Shout.", "previous_response_id": "resp_1"}
    asked = run(before=BEFORE, **members)
    assert (asked.instructions, asked.transcript) == ("Shout.", [*BEFORE, HI])
    assert input_items(parse_responses(body(**members))) == [HI]


@pytest.mark.parametrize("extra", [{}, {"type": "message"}, {"id": "msg_1", "status": "completed"}])
@pytest.mark.parametrize("role", ["user", "assistant", "system", "developer"])
def test_messages_come_with_or_without_a_type(role: str, extra: dict[str, Any]) -> None:
    neutral = only_item({"role": role, "content": "Hello", **extra})
    assert neutral == {
        "type": "message",
        "role": role,
        "content": [{"type": "text", "text": "Hello"}],
    }


def test_parts_of_all_kinds_are_taken_over() -> None:
    [message] = run(
        **parts(
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
            {"type": "input_image", "image_url": "data:image/png;base64,AA"},
            {"type": "input_file", "file_data": PDF, "filename": "x.pdf"},
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        )
    ).transcript
    assert message == {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "image", "url": "https://a.example/b.png", "detail": "low"},
            {"type": "image", "url": "data:image/png;base64,AA"},
            {"type": "file", "filename": "x.pdf", "data": PDF},
            {"type": "audio", "data": "AA", "format": "wav"},
        ],
    }


def test_an_answer_comes_back_as_it_was_replied() -> None:
    content = [
        {"type": "output_text", "text": "a", "annotations": [], "logprobs": []},
        {"type": "refusal", "refusal": "no"},
    ]
    item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    assert only_item({**item, "content": content}) == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "text": "no"}],
    }


@pytest.mark.parametrize(("kind", "member"), [("function", "arguments"), ("custom_tool", "input")])
def test_calls_and_their_results_are_taken_over(kind: str, member: str) -> None:
    call = {"type": f"{kind}_call", "id": "fc_1", "call_id": "c", "name": "f", member: "{}"}
    assert only_item(call) == {
        "type": "tool_call",
        "id": "c",
        "name": "f",
        "arguments": "{}",
        "kind": kind.removesuffix("_tool"),
    }
    image = {"type": "input_image", "image_url": PNG, "detail": "auto"}
    for output, content in (
        ("done", [{"type": "text", "text": "done"}]),
        ([image], [{"type": "image", "url": PNG, "detail": "auto"}]),
        ([], []),
    ):
        result = {"type": f"{kind}_call_output", "call_id": "c", "output": output}
        known = {"kind": "custom"} if kind == "custom_tool" else {}
        assert only_item(result) == {"type": "tool_result", "id": "c", "content": content, **known}


def test_reasoning_is_its_text_and_its_summary_else_opaque() -> None:
    text = [{"type": "reasoning_text", "text": "hm"}]
    summary = [{"type": "summary_text", "text": "short"}]
    both = {"type": "reasoning", "id": "rs_1", "summary": summary, "content": text}
    neutral = {"type": "reasoning", "text": "hm", "summary": ["short"]}
    assert only_item(both) == neutral
    assert only_item({**both, "content": None}) == {**neutral, "text": ""}
    assert only_item({**both, "summary": []}) == {"type": "reasoning", "text": "hm"}
    sealed = only_item({"type": "reasoning", "summary": [], "encrypted_content": "x"})
    assert sealed["type"] == "opaque" and sealed["value"]["encrypted_content"] == "x"


def test_items_of_openais_own_tools_are_opaque() -> None:
    item = {"type": "shell_call", "action": {"commands": ["ls"]}}
    assert only_item(item) == {"type": "opaque", "origin": "responses", "value": item}


def test_options_are_handed_on_by_their_neutral_names() -> None:
    same = {
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "max_output_tokens": 16,
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "implicit"},
        "user": "u",
        "safety_identifier": "s",
        "metadata": {"a": "b"},
    }
    renamed = {"reasoning": {"effort": "low"}, "text": {"verbosity": "high"}}
    assert run(**same, **renamed).options == {
        **same,
        "reasoning_effort": "low",
        "verbosity": "high",
    }


def test_logprobs_are_asked_for_by_either_member() -> None:
    include = ["message.output_text.logprobs"]
    assert run(include=include).options == {"logprobs": True}
    both = {"logprobs": True, "top_logprobs": 2}
    assert run(include=include, top_logprobs=2).options == run(top_logprobs=2).options == both
    assert run(top_logprobs=0, include=["reasoning.encrypted_content"]).options == {}


def test_tools_are_flat_and_those_of_others_are_left_out() -> None:
    strict = {**WEATHER, "description": "Tells", "strict": True}
    asked = run(tools=[strict, SEARCH, SHELL], parallel_tool_calls=False, tool_choice="auto")
    assert asked.tools == [
        {
            "type": "function",
            "name": "weather",
            "description": "Tells",
            "spec": SCHEMA,
            "strict": True,
        },
        {"type": "custom", "name": "shell", "spec": {"type": "text"}},
    ]
    assert asked.tool_choice == {"mode": "auto"}
    assert asked.options == {"parallel_tool_calls": False}


def test_without_a_tool_for_the_model_nothing_is_said_of_tools() -> None:
    asked = run(tools=[SEARCH], parallel_tool_calls=True, tool_choice="auto")
    assert (asked.tools, asked.tool_choice, asked.options) == ([], None, {})


@pytest.mark.parametrize(
    ("choice", "neutral"),
    [
        ("none", {"mode": "none"}),
        ("required", {"mode": "required"}),
        (
            {"type": "function", "name": "weather"},
            {"mode": "named", "tools": [{"type": "function", "name": "weather"}]},
        ),
        (
            {"type": "custom", "name": "shell"},
            {"mode": "named", "tools": [{"type": "custom", "name": "shell"}]},
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "custom", "name": "shell"}],
            },
            {"mode": "allowed", "tools": [{"type": "custom", "name": "shell"}]},
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "weather"}],
            },
            {"mode": "allowed_required", "tools": [{"type": "function", "name": "weather"}]},
        ),
    ],
)
def test_every_choice_has_its_neutral_form_and_is_echoed(choice: Any, neutral: Any) -> None:
    members: dict[str, Any] = {"tools": [WEATHER, SHELL], "tool_choice": choice}
    assert run(**members).tool_choice == neutral
    assert echo(parse_responses(body(**members)))["tool_choice"] == choice


def test_formats_are_flat() -> None:
    assert run(text={"format": {"type": "json_object"}}).format == {"type": "json_object"}
    full = {"name": "x", "description": "d", "schema": SCHEMA, "strict": True}
    assert run(**schema(**full)).format == {"type": "json_schema", **full}
    assert run(**schema()).format == {"type": "json_schema", "name": "x", "schema": {}}


def test_a_conversations_turn_ends_with_what_is_new() -> None:
    assert run("c", **items(ASKS)).conversation == "c"
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    for last in ({"role": "assistant", "content": "x"}, call, {"type": "reasoning", "summary": []}):
        with pytest.raises(ApiError) as caught:
            run("c", **items(last))
        assert (caught.value.status, caught.value.param) == (400, "input")
        if last is not call:
            assert run(**items(last))


def test_a_conversation_and_a_previous_response_exclude_each_other() -> None:
    with pytest.raises(ApiError) as caught:
        run("c", previous_response_id="resp_1")
    assert (caught.value.status, caught.value.param) == (400, "previous_response_id")
