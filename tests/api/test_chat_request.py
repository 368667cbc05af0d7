from typing import Any

import orjson
import pytest

from tests.api.chat_bodies import ASKS, SHELL, WEATHER, allowed, body, named
from trunkline_api.chat_request import fill_in
from trunkline_api.errors import ApiError
from trunkline_api.wire.chat import parse_chat
from trunkline_shared.run import RunId, RunRequest, decode_job, encode_job

RUN_ID = RunId("a0000000000" + "f" * 17)


def run(conversation: str = "", **members: Any) -> RunRequest:
    plain = RunRequest(
        RUN_ID,
        "helper",
        pool="coding",
        principal="ada",
        reply="reply:1",
        conversation=conversation,
    )
    fill_in(plain, parse_chat(body(**members)))
    return plain


def transcript(*messages: dict[str, Any]) -> list[Any]:
    return list(run(messages=list(messages)).transcript)


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def test_the_run_is_the_agents_and_says_who_asked_and_where_to_answer() -> None:
    assert run(stream=True) == RunRequest(
        run_id=RUN_ID,
        agent="helper",
        pool="coding",
        principal="ada",
        reply="reply:1",
        stream=True,
        on_lost="fail",
        transcript=[{"type": "message", "role": "user", "content": [text("hi")]}],  # type: ignore[list-item]
    )


def test_a_plain_request_asks_for_nothing_special() -> None:
    plain = run()
    assert not plain.stream
    assert (plain.options, plain.tools, plain.tool_choice, plain.format) == ({}, [], None, None)


def test_system_developer_and_user_messages_keep_role_order_name_and_parts() -> None:
    assert transcript(
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [text("a"), text("b")], "name": "dev"},
        {"role": "user", "content": "", "name": "ada"},
    ) == [
        {"type": "message", "role": "system", "content": [text("be brief")]},
        {"type": "message", "role": "developer", "content": [text("a"), text("b")], "name": "dev"},
        {"type": "message", "role": "user", "content": [text("")], "name": "ada"},
    ]


def test_every_kind_of_part_crosses() -> None:
    parts: list[dict[str, Any]] = [
        text("look"),
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "AA", "filename": "a.pdf"}},
    ]
    [message] = transcript({"role": "user", "content": parts})
    assert message["content"] == [
        text("look"),
        {"type": "image", "url": "https://x/y.png"},
        {"type": "image", "url": "data:image/png;base64,AA", "detail": "low"},
        {"type": "audio", "data": "AA", "format": "wav"},
        {"type": "file", "data": "AA", "filename": "a.pdf"},
    ]


def call(call_id: str, name: str, arguments: str, kind: str = "function") -> dict[str, str]:
    base = {"type": "tool_call", "id": call_id, "name": name}
    return base | {"arguments": arguments, "kind": kind}


def test_an_assistants_turn_is_reasoning_then_message_then_calls() -> None:
    assert transcript(
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "2", "type": "custom", "custom": {"name": "c", "input": "ls"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "2", "content": [text("a"), text("b")]},
    ) == [
        {"type": "reasoning", "text": "hm"},
        {"type": "message", "role": "assistant", "content": [text("I look.")]},
        call("1", "f", "{}"),
        call("2", "c", "ls", "custom"),
        {"type": "tool_result", "id": "1", "content": [text("sunny")]},
        {"type": "tool_result", "id": "2", "content": [text("a"), text("b")]},
    ]


@pytest.mark.parametrize("content", [None, ""])
def test_no_text_beside_calls_is_no_message(content: str | None) -> None:
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    said = {"role": "assistant", "content": content, "tool_calls": calls}
    assert transcript(said, {"role": "tool", "tool_call_id": "1", "content": ""})[0] == call(
        "1", "f", "{}"
    )


def test_an_empty_answer_stays_a_message() -> None:
    [message] = transcript({"role": "assistant", "content": ""})
    assert message["content"] == [text("")]


def test_a_refusal_is_a_part_whether_it_came_as_member_or_part() -> None:
    refusal = {"type": "refusal", "refusal": "no"}
    for said in ({"refusal": "no", "content": None}, {"content": [refusal]}):
        [message] = transcript({"role": "assistant", **said})
        assert message["content"] == [{"type": "refusal", "text": "no"}]


def test_reasoning_that_is_no_text_is_left_out() -> None:
    [message] = transcript(
        {"role": "assistant", "content": "x", "reasoning_content": [{"type": "thinking"}]}
    )
    assert message["type"] == "message"


def test_an_old_function_result_finds_the_last_call_of_its_name() -> None:
    asks = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "1"}}
    again = {**asks, "function_call": {"name": "f", "arguments": "2"}}
    result = {"role": "function", "name": "f", "content": "one"}
    assert transcript(asks, result, again, {**result, "content": None}) == [
        call("call_0", "f", "1"),
        {"type": "tool_result", "id": "call_0", "content": [text("one")]},
        call("call_2", "f", "2"),
        {"type": "tool_result", "id": "call_2", "content": [text("")]},
    ]


OPTIONS: dict[str, Any] = {
    "temperature": 0,
    "top_p": 0.5,
    "seed": 0,
    "presence_penalty": -1,
    "frequency_penalty": 1,
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 3,
    "reasoning_effort": "none",
    "verbosity": "low",
    "service_tier": "flex",
    "parallel_tool_calls": False,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"mode": "explicit"},
    "user": "u",
    "safety_identifier": "s",
    "metadata": {"a": "b"},
    "prediction": {"type": "content", "content": "x"},
    "stop": ["END"],
}


def test_every_option_reaches_the_run_as_it_is_false_and_zero_included() -> None:
    assert run(**OPTIONS).options == OPTIONS


def test_one_stop_word_is_a_list_of_one() -> None:
    assert run(stop="END").options == {"stop": ["END"]}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_either_limit_of_tokens_is_the_limit(name: str) -> None:
    assert run(**{name: 9}).options == {"max_output_tokens": 9}


def test_tools_cross_with_what_describes_them() -> None:
    full = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False}
    bare = {"type": "custom", "custom": {"name": "c", "description": "e"}}
    assert run(tools=[{"type": "function", "function": full}, SHELL, bare]).tools == [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "spec": {"type": "object"},
            "strict": False,
        },
        {"type": "custom", "name": "shell", "spec": {"type": "text"}},
        {"type": "custom", "name": "c", "description": "e"},
    ]


F = {"type": "function", "name": "weather"}
C = {"type": "custom", "name": "shell"}


@pytest.mark.parametrize(
    ("choice", "neutral"),
    [
        ("none", {"mode": "none"}),
        ("auto", {"mode": "auto"}),
        ("required", {"mode": "required"}),
        (named("weather"), {"mode": "named", "tools": [F]}),
        (named("shell", "custom"), {"mode": "named", "tools": [C]}),
        (allowed(named("weather")), {"mode": "allowed", "tools": [F]}),
        (
            allowed(named("shell", "custom"), named("weather"), mode="required"),
            {"mode": "allowed_required", "tools": [C, F]},
        ),
    ],
)
def test_every_form_of_tool_choice_crosses(choice: Any, neutral: Any) -> None:
    assert run(tools=[WEATHER, SHELL], tool_choice=choice).tool_choice == neutral


@pytest.mark.parametrize(
    ("wanted", "neutral"),
    [
        ({"type": "text"}, {"type": "text"}),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
            {"type": "json_schema", "name": "s", "schema": {}},
        ),
        (
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "s",
                    "description": "d",
                    "schema": {"type": "object"},
                    "strict": True,
                },
            },
            {
                "type": "json_schema",
                "name": "s",
                "description": "d",
                "schema": {"type": "object"},
                "strict": True,
            },
        ),
    ],
)
def test_every_response_format_crosses(wanted: Any, neutral: Any) -> None:
    assert run(response_format=wanted).format == neutral


def test_a_run_with_everything_crosses_the_queue_unchanged() -> None:
    full = run(**OPTIONS, tools=[WEATHER, SHELL], tool_choice="auto", stream=True)
    assert decode_job(RUN_ID, encode_job(full)) == full
    assert orjson.loads(encode_job(full))


def test_a_turn_of_a_conversation_ends_with_what_is_new() -> None:
    known = {"role": "assistant", "content": "hello"}
    with pytest.raises(ApiError, match="the last of the 'messages'") as caught:
        run(conversation="c", messages=[ASKS, known])
    assert (caught.value.status, caught.value.param) == (400, "messages")
    assert len(run(messages=[ASKS, known]).transcript) == 2
