from typing import Any

import pytest

from tests.worker.backends.driving import request
from trunkline_shared.config.models import AgentConfig
from trunkline_worker.backends.chat_request import chat_body, input_tokens
from trunkline_worker.models import ModelSpec

AGENT = AgentConfig(name="test", model=("openai:gpt-4o",), system_prompt=("Be brief.", "Be kind."))
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "d",
    "spec": {},
    "strict": True,
}
SHELL: Any = {"type": "custom", "name": "shell", "spec": {"type": "text"}}


def body(provider: str = "openai", max_tokens: int | None = None, **fields: Any) -> dict[str, Any]:
    made = {name: fields.pop(name) for name in ("settings", "extra_body") if name in fields}
    spec = ModelSpec(provider=provider, name="gpt-4o", base_url="http://x/v1", **made)
    return chat_body(request(**fields), AGENT, spec, max_tokens)


def test_the_upstream_is_always_asked_for_a_stream_with_usage() -> None:
    sent = body(extra_body={"stream": False, "top_k": 4})
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["top_k"] == 4


def test_an_upstream_that_refuses_stream_options_is_not_sent_them() -> None:
    spec = ModelSpec(provider="mistral", name="m", base_url="x", takes_stream_options=False)
    assert "stream_options" not in chat_body(request(), AGENT, spec, None)


def test_the_agents_prompts_come_first() -> None:
    assert [message["content"] for message in body()["messages"]] == [
        "Be brief.",
        "Be kind.",
        "hello there",
    ]


def test_options_stand_over_settings_and_are_passed_on() -> None:
    options = {"temperature": 0.0, "stop": ["a"], "seed": 7, "user": "u", "logprobs": True}
    sent = body(options=options, settings={"temperature": 1.0, "top_p": 0.5})
    assert {name: sent[name] for name in [*options, "top_p"]} == {**options, "top_p": 0.5}


def test_the_limit_goes_in_the_field_that_the_upstream_knows() -> None:
    spec = ModelSpec(
        provider="openai", name="m", base_url="x", max_tokens_field="max_completion_tokens"
    )
    sent = chat_body(request(options={"max_output_tokens": 9}), AGENT, spec, 5)
    assert sent["max_completion_tokens"] == 5
    assert "max_tokens" not in sent and "max_output_tokens" not in sent


def test_strict_upstreams_are_spared_the_hints_they_would_refuse() -> None:
    options = {"prompt_cache_key": "k", "safety_identifier": "s", "seed": 1}
    assert "prompt_cache_key" in body(options=options)
    sent = body("mistral", options=options)
    assert not {"prompt_cache_key", "safety_identifier", "seed"} & sent.keys()
    assert sent["random_seed"] == 1


def test_metadata_goes_along_only_where_the_operator_lets_the_upstream_store() -> None:
    options = {"metadata": {"a": "b"}}
    assert "metadata" not in body(options=options)
    assert body(options=options, extra_body={"store": True})["metadata"] == {"a": "b"}


def test_tools_of_both_kinds_take_the_upstreams_form() -> None:
    assert body(tools=[WEATHER, SHELL])["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "d", "parameters": {}, "strict": True},
        },
        {"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"mode": "none"}, "none"),
        ({"mode": "auto"}, "auto"),
        ({"mode": "required"}, "required"),
        (
            {"mode": "named", "tools": [WEATHER]},
            {"type": "function", "function": {"name": "weather"}},
        ),
        ({"mode": "named", "tools": [SHELL]}, {"type": "custom", "custom": {"name": "shell"}}),
        (
            {"mode": "allowed_required", "tools": [WEATHER]},
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        ),
    ],
)
def test_every_tool_choice_takes_the_upstreams_form(choice: Any, expected: Any) -> None:
    assert body(tools=[WEATHER, SHELL], tool_choice=choice)["tool_choice"] == expected


def test_elsewhere_allowed_tools_are_the_only_ones_sent() -> None:
    sent = body("groq", tools=[WEATHER, SHELL], tool_choice={"mode": "allowed", "tools": [SHELL]})
    assert sent["tool_choice"] == "auto"
    assert [tool["type"] for tool in sent["tools"]] == ["custom"]


def test_formats() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert body(format=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }
    assert body(format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert "response_format" not in body(format={"type": "text"})


def test_the_size_of_the_input_is_estimated_from_its_text() -> None:
    assert input_tokens(request("x" * 400), AGENT) == 105  # the two prompts are 18 characters
    assert input_tokens(request("x" * 400, tools=[WEATHER]), AGENT) > 120
