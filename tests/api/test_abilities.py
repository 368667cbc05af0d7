"""What an agent cannot do is refused by the name of the member that asks for it."""

from typing import Any

import pytest

from tests.api.chat_bodies import body as chat_body
from tests.api.responses_bodies import SCHEMA, SEARCH, WEATHER
from tests.api.responses_bodies import body as responses_body
from trunkline_api.abilities import Abilities
from trunkline_api.asked import of_chat, of_responses
from trunkline_api.errors import ApiError
from trunkline_api.wire.chat import parse_chat
from trunkline_api.wire.responses import parse_responses
from trunkline_shared.config.models import AgentConfig

CODER = AgentConfig(name="coder", type="claude_code")
GRAPH = AgentConfig(name="graph", type="acp")
CLAUDE = AgentConfig(name="claude", model=("anthropic:claude",))
ANY = AgentConfig(name="any", model=("openai:x",))
FUNCTION = {"type": "function", "function": {"name": "f"}}
PNG = "data:image/png;base64,AAAA"
SCHEMA_FORMAT = {"type": "json_schema", "name": "x", "schema": SCHEMA}
USER: dict[str, Any] = {"role": "user"}


def chat(agent: AgentConfig, **members: Any) -> str | None:
    """The member that is refused."""
    request = parse_chat(chat_body(**members))
    try:
        Abilities().check(agent, agent.name, lambda: of_chat(request))
    except ApiError as error:
        assert (error.status, error.code) == (400, "unsupported_parameter")
        assert repr(agent.name) in error.message and str(error.param) in error.message
        return error.param
    return None


def responses(agent: AgentConfig, **members: Any) -> str | None:
    request = parse_responses(responses_body(**members))
    try:
        Abilities().check(agent, agent.name, lambda: of_responses(request))
    except ApiError as error:
        assert error.status == 400
        return error.param
    return None


def parts(*found: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": "x"}, {**USER, "content": [*found]}]}


TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": PNG}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}}


@pytest.mark.parametrize(
    ("agent", "members", "param"),
    [
        (CODER, {"tools": [FUNCTION]}, "tools"),
        (CODER, {"temperature": 0.5}, "temperature"),
        (CODER, {"stop": ["x"]}, "stop"),
        (CODER, {"logprobs": True}, "logprobs"),
        (CODER, parts(TEXT, IMAGE), None),
        (CODER, parts(TEXT, AUDIO), "messages[1].content[1]"),
        (CODER, parts(FILE), "messages[1].content[0]"),
        (CODER, {"response_format": {"type": "json_object"}}, None),
        (GRAPH, {"response_format": {"type": "json_object"}}, "response_format"),
        (GRAPH, {"response_format": {"type": "text"}}, None),
        (GRAPH, parts(IMAGE), "messages[1].content[0]"),
        (CLAUDE, {"seed": 1}, "seed"),
        (CLAUDE, {"verbosity": "low"}, "verbosity"),
        (CLAUDE, {"temperature": 0.5, "tools": [FUNCTION], "stop": "x"}, None),
        (ANY, {"seed": 1, "logprobs": True, **parts(TEXT, IMAGE, AUDIO, FILE)}, None),
    ],
)
def test_chat_refuses_what_the_agent_cannot_do(
    agent: AgentConfig, members: dict[str, Any], param: str | None
) -> None:
    assert chat(agent, **members) == param


def test_what_asks_for_nothing_is_refused_by_nobody() -> None:
    defaults = {"temperature": 1, "top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0.0}
    assert chat(CODER, **defaults, logit_bias={}, seed=None, tools=[]) is None
    assert responses(CODER, **defaults, tools=[SEARCH], text={"format": {"type": "text"}}) is None


@pytest.mark.parametrize(
    ("agent", "members", "param"),
    [
        (CODER, {"tools": [SEARCH, WEATHER]}, "tools"),
        (CODER, {"top_p": 0.5}, "top_p"),
        (CODER, {"top_logprobs": 2}, "top_logprobs"),
        (CODER, {"include": ["message.output_text.logprobs"]}, "include"),
        (GRAPH, {"text": {"format": SCHEMA_FORMAT}}, "text.format"),
        (CLAUDE, {"presence_penalty": 1}, "presence_penalty"),
        (CLAUDE, {"text": {"verbosity": "low"}}, "text.verbosity"),
        (CLAUDE, {"reasoning": {"effort": "low"}}, None),
        (
            GRAPH,
            {"input": [{**USER, "content": [{"type": "input_image", "image_url": PNG}]}]},
            "input[0].content[0]",
        ),
        (
            GRAPH,
            {
                "input": [
                    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                    {
                        "type": "function_call_output",
                        "call_id": "c",
                        "output": [
                            {"type": "input_text", "text": "a"},
                            {"type": "input_image", "image_url": PNG},
                        ],
                    },
                ]
            },
            "input[1].output[1]",
        ),
    ],
)
def test_responses_refuse_by_their_own_names(
    agent: AgentConfig, members: dict[str, Any], param: str | None
) -> None:
    assert responses(agent, **members) == param


def test_an_agent_that_changed_is_looked_at_again() -> None:
    abilities = Abilities()
    abilities.check(ANY, "m", lambda: [("tools", "tools")])
    with pytest.raises(ApiError):
        abilities.check(CODER.model_copy(update={"name": "any"}), "m", lambda: [("tools", "tools")])
