"""A run whose steps go to different providers, and what each is told of the others' answers."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic_ai import Agent, PromptedOutput, StructuredDict
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import ModelRequestParameters

from tests.fakes.anthropic import FakeAnthropic
from tests.fakes.responses import FakeResponses
from tests.fakes.upstream import FakeUpstream
from tests.worker.agent_lane.asking import asked, chain_of
from tests.worker.agent_lane.items import message
from tests.worker.agent_lane.test_anthropic_wire import spec as claude
from tests.worker.agent_lane.test_responses_wire import spec as gpt
from tests.worker.backends.driving import spec as compatible
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.models import ModelSpec


def history(provider: str, signature: str | None) -> list[ModelMessage]:
    thought = ThinkingPart("Hm.", signature=signature, provider_name=provider)
    called = ToolCallPart("look", "{}", "c1")
    return [
        *to_messages([message("user", "look")]),
        ModelResponse(parts=[thought, TextPart("I look."), called], provider_name=provider),
        ModelRequest(parts=[ToolReturnPart("look", "seen", "c1")]),
    ]


async def told(model: ModelSpec, messages: list[ModelMessage]) -> None:
    async with chain_of(model) as chain:
        await asked(chain).model.request(messages, None, ModelRequestParameters())


@pytest.mark.parametrize(("provider", "signature"), [("vllm", None), ("openai", "ZW5j")])
async def test_anthropic_is_told_all_but_the_reasoning_of_others(
    anthropic: FakeAnthropic, provider: str, signature: str | None
) -> None:
    await told(claude(anthropic, "words-1"), history(provider, signature))
    _, assistant, answer = anthropic.requests[0].body["messages"]
    assert [each["type"] for each in assistant["content"]] == ["text", "tool_use"]
    assert answer["content"][0]["tool_use_id"] == "c1"


@pytest.mark.parametrize(
    ("model", "provider"), [("gpt-5-words-1", "anthropic"), ("words-1", "openai")]
)
async def test_openai_is_told_all_but_reasoning_that_it_cannot_read(
    responses: FakeResponses, model: str, provider: str
) -> None:
    await told(gpt(responses, model), history(provider, "c2ln"))
    body = responses.requests[0].body
    assert "Hm." not in str(body["input"])
    assert "I look." in str(body["input"]) and "seen" in str(body["input"])


async def test_others_are_told_the_reasoning_in_their_own_field(upstream: FakeUpstream) -> None:
    await told(compatible(upstream, "words-1"), history("anthropic", "c2ln"))
    assistant = upstream.requests[0].body["messages"][1]
    assert (assistant["reasoning_content"], assistant["content"]) == ("Hm.", "I look.")


async def test_a_chain_can_do_what_all_of_its_models_can(
    anthropic: FakeAnthropic, upstream: FakeUpstream
) -> None:
    async with chain_of(compatible(upstream, "a")) as chain:
        assert chain.profile.get("supports_json_schema_output")
    old = claude(anthropic, "claude-3-5-haiku")
    async with chain_of(compatible(upstream, "a"), old) as chain:
        assert not chain.profile.get("supports_json_schema_output")


async def test_a_prompted_format_is_asked_for_in_words(upstream: FakeUpstream) -> None:
    form = StructuredDict({"type": "object", "properties": {}}, name="thing")
    async with chain_of(compatible(upstream, "json")) as chain:
        run = asked(chain)
        agent = Agent(run.model, output_type=PromptedOutput(form))
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert outcome.output == {}
    body = upstream.requests[0].body
    assert "response_format" not in body
    assert body["messages"][0]["role"] == "system" and "schema" in body["messages"][0]["content"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"provider": "google", "wire": "google"}, r'pip install "trunkline\[google\]"'),
        ({"settings": {"seed": 7}}, "settings.seed"),
        ({"base_url": "ftp://example.com"}, "http"),
    ],
)
async def test_what_cannot_be_made_says_why(
    anthropic: FakeAnthropic, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        async with chain_of(claude(anthropic, "words-1", **fields)):
            pass


def test_nothing_of_the_lane_is_imported_before_an_agent_needs_it() -> None:
    heavy = {"pydantic_ai", "anthropic", "openai", "httpx2"}
    code = f"import sys, trunkline_worker.backends.build; print({heavy!r} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
