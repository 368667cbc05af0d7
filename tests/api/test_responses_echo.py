from typing import Any

from tests.api.responses_bodies import SEARCH, SHELL, SPACE, WEATHER, body, schema
from trunkline_api.responses_echo import echo
from trunkline_api.wire.responses import parse_responses


def echoed(**members: Any) -> dict[str, Any]:
    return echo(parse_responses(body(**members)))


def test_what_was_left_out_has_openais_value() -> None:
    assert echoed() == {
        "background": False,
        "frequency_penalty": 0.0,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "conversation": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }


def test_what_was_said_is_repeated() -> None:
    said: dict[str, Any] = {
        "frequency_penalty": 0.5,
        "instructions": "Shout.",
        "max_output_tokens": 16,
        "max_tool_calls": 2,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "presence_penalty": -0.5,
        "previous_response_id": "resp_1",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low", "summary": "auto"},
        "safety_identifier": "s",
        "service_tier": "flex",
        "store": False,
        "temperature": 0.0,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "top_logprobs": 3,
        "top_p": 0.0,
        "truncation": "auto",
        "user": "u",
    }
    values = echoed(**said)
    assert {name: values[name] for name in said} == said


def test_options_of_a_prompt_cache_are_whole() -> None:
    values = echoed(prompt_cache_options={"mode": "explicit"})
    assert values["prompt_cache_options"] == {"mode": "explicit", "ttl": "30m"}


def test_a_schema_is_repeated_with_all_its_members() -> None:
    assert echoed(**schema())["text"]["format"] == {
        "type": "json_schema",
        "name": "x",
        "description": None,
        "schema": {},
        "strict": False,
    }


def test_tools_are_repeated_those_for_the_model_with_all_their_members() -> None:
    bare = {"type": "function", "name": "bare"}
    assert echoed(tools=[WEATHER, bare, SHELL, SEARCH, SPACE])["tools"] == [
        {**WEATHER, "description": None, "strict": None},
        {**bare, "description": None, "parameters": None, "strict": None},
        SHELL,
        SEARCH,
        SPACE,
    ]
