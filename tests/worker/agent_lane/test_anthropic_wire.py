"""The agent lane on Anthropic's Messages API."""

from typing import Any

import pytest
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ThinkingPart, ToolCallPart
from pydantic_ai.toolsets import ExternalToolset

from tests.fakes.anthropic import FakeAnthropic, words
from tests.worker.agent_lane.asking import Asked, asked, chain_of, text_of
from tests.worker.agent_lane.items import (
    AUDIO,
    FILE,
    IMAGE,
    LINK,
    call,
    message,
    opaque,
    reasoning,
    result,
)
from tests.worker.backends.driving import request
from trunkline_shared.events import (
    ReasoningDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
)
from trunkline_shared.transcript import Tool
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.agent_lane.models import StepFailed, usage_in
from trunkline_worker.agent_lane.tool_forms import definition_of
from trunkline_worker.models import ModelSpec

LOOK: Tool = {"type": "function", "name": "look", "spec": {"type": "object", "properties": {}}}
WRITE: Tool = {"type": "custom", "name": "write", "description": "Writes."}
KEY = "sk-ant-very-secret-key"


def spec(anthropic: FakeAnthropic, name: str, **fields: Any) -> ModelSpec:
    values: dict[str, Any] = {"provider": "anthropic", "wire": "anthropic", "api_key": KEY}
    return ModelSpec(**{**values, "name": name, "base_url": anthropic.base_url, **fields})


async def stepped(anthropic: FakeAnthropic, name: str, **fields: Any) -> Asked:
    async with chain_of(spec(anthropic, name)) as chain:
        run = asked(chain, request(**fields))
        await run.step()
        return run


async def refusal(anthropic: FakeAnthropic, name: str, **fields: Any) -> StepFailed:
    async with chain_of(spec(anthropic, name), silence_timeout_s=0.3) as chain:
        with pytest.raises(StepFailed) as failure:
            await asked(chain, request(**fields)).step()
        return failure.value


async def test_every_piece_is_heard_from_the_first_on(anthropic: FakeAnthropic) -> None:
    run = await stepped(anthropic, "words-5")
    assert run.events == [TextDelta(f"w{n} ") for n in range(5)]
    end = run.model.last
    assert end is not None and (end.reason, end.model) == ("stop", "words-5")
    headers = anthropic.requests[0].headers
    assert KEY in (headers.get("x-api-key", ""), headers["authorization"].removeprefix("Bearer "))
    assert (headers["user-agent"], headers["accept-encoding"]) == ("trunkline", "identity")


async def test_without_a_key_none_is_sent(anthropic: FakeAnthropic) -> None:
    async with chain_of(spec(anthropic, "words-1", api_key=None)) as chain:
        await asked(chain).step()
    assert not {"authorization", "x-api-key"} & anthropic.requests[0].headers.keys()


async def test_the_transcript_is_on_the_wire(anthropic: FakeAnthropic) -> None:
    transcript = [
        message("system", "Be brief."),
        message("user", "look"),
        reasoning("Nobody signed this."),
        opaque(),
        message("assistant", "I look."),
        call("c1"),
        result("c1", "seen", IMAGE),
        message("user", "what"),
    ]
    await stepped(anthropic, "words-1", transcript=transcript, tools=[LOOK])
    body = anthropic.requests[0].body
    assert "Be brief." in str(body["system"])
    user, assistant, answer = body["messages"]
    assert user["content"] == [{"type": "text", "text": "look"}]
    said, used = assistant["content"]
    assert (said["text"], used["name"], used["input"]) == ("I look.", "look", {"at": 1})
    assert answer["content"][0]["tool_use_id"] == "c1"
    assert [each["type"] for each in answer["content"][0]["content"]] == ["text", "image"]
    assert answer["content"][1]["text"] == "what"
    assert body["stream"] is True and body["max_tokens"] > 1000


async def test_images_and_files_go_along_and_nothing_is_fetched(anthropic: FakeAnthropic) -> None:
    await stepped(anthropic, "words-1", transcript=[message("user", "see", IMAGE, LINK, FILE)])
    _, image, link, file = anthropic.requests[0].body["messages"][0]["content"]
    assert image["source"]["media_type"] == "image/png"
    assert link["source"] == {"type": "url", "url": LINK["url"]}
    assert file["source"]["media_type"] == "application/pdf"


async def test_thinking_is_heard_and_goes_back_with_its_signature(anthropic: FakeAnthropic) -> None:
    async with chain_of(spec(anthropic, "thinking")) as chain:
        run = asked(chain, request(options={"reasoning_effort": "high"}))
        response = await run.step()
        thought = response.parts[0]
        assert isinstance(thought, ThinkingPart) and thought.signature == "c2lnbmVk"
        again = [*to_messages(run.request.transcript), response, *to_messages([])]
        await run.model.request(again, None, _text_parameters())
    assert run.events[:2] == [ReasoningDelta("Let me "), ReasoningDelta("think.")]
    assert anthropic.requests[0].body["thinking"]["type"] == "enabled"
    blocks = anthropic.requests[1].body["messages"][1]["content"]
    assert blocks[0] == {
        "type": "thinking",
        "thinking": "Let me think.",
        "signature": "c2lnbmVk",
    }


def _text_parameters() -> Any:
    from pydantic_ai.models import ModelRequestParameters

    return ModelRequestParameters()


async def test_calls_are_heard_and_a_custom_tools_text_is_its_own(
    anthropic: FakeAnthropic,
) -> None:
    async with chain_of(spec(anthropic, "tools-parallel")) as chain:
        run = asked(chain, request(tools=[LOOK, WRITE]))
        response = await run.step()
    starts = [event for event in run.events if isinstance(event, ToolCallStart)]
    assert [(each.index, each.name, each.kind) for each in starts] == [
        (0, "look", "function"),
        (1, "write", "custom"),
    ]
    assert _arguments(run.events, 0) == "{}"
    assert _arguments(run.events, 1) == "text"
    assert [part.args_as_dict() for part in response.parts if isinstance(part, ToolCallPart)] == [
        {},
        {"input": "text"},
    ]
    assert response.finish_reason == "tool_call"


def _arguments(events: list[RunEvent], index: int) -> str:
    return "".join(
        each.text for each in events if isinstance(each, ToolArgsDelta) and each.index == index
    )


async def test_an_agent_runs_its_tools_and_returns_the_callers_calls(
    anthropic: FakeAnthropic,
) -> None:
    def own() -> str:
        """Does something."""
        return "done"

    async with chain_of(spec(anthropic, "tools-parallel")) as chain:
        run = asked(chain, request(tools=[LOOK]))
        agent = Agent(
            run.model,
            output_type=[str, DeferredToolRequests],
            tools=[own],
            toolsets=[ExternalToolset([definition_of(LOOK)])],
        )
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert isinstance(outcome.output, DeferredToolRequests)
    assert [each.tool_name for each in outcome.output.calls] == ["look"]


async def test_the_choice_of_tools_is_said(anthropic: FakeAnthropic) -> None:
    tools = [LOOK, WRITE]
    choices = [
        {"mode": "required"},
        {"mode": "named", "tools": [WRITE]},
        {"mode": "none"},
        {"mode": "allowed", "tools": [LOOK]},
    ]
    for choice in choices:
        await stepped(anthropic, "words-1", tools=tools, tool_choice=choice)
    await stepped(anthropic, "words-1", tools=tools, options={"parallel_tool_calls": False})
    required, named, none, allowed, alone = (seen.body for seen in anthropic.requests)
    assert required["tool_choice"]["type"] == "any"
    assert named["tool_choice"]["type"] == "tool" and named["tool_choice"]["name"] == "write"
    assert none.get("tool_choice", {"type": "none"})["type"] == "none"
    assert [tool["name"] for tool in allowed["tools"]] == ["look"]
    assert alone["tool_choice"]["disable_parallel_tool_use"] is True


async def test_usage_counts_the_cache_and_is_priced(anthropic: FakeAnthropic) -> None:
    priced = spec(anthropic, "cached", rates=(0.5, 1.0))
    async with chain_of(priced) as chain:
        run = asked(chain, request("a b"))
        response = await run.step()
    usage = run.model.usage
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens) == (7, 5, 3)
    assert usage.input_tokens >= 12 and usage.cost == usage.input_tokens * 0.5 + 3
    assert usage_in(response) == usage


async def test_the_prices_of_anthropic_are_known(anthropic: FakeAnthropic) -> None:
    known = spec(anthropic, "claude-haiku-4-5", prices_id="anthropic")
    async with chain_of(known) as chain:
        run = asked(chain)
        await run.step()
    assert run.model.usage.cost is not None and run.model.usage.cost > 0


async def test_options_are_said_in_the_providers_words(anthropic: FakeAnthropic) -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["w2"],
        "max_output_tokens": 50,
        "user": "ann",
        "service_tier": "default",
    }
    run = await stepped(anthropic, "words-9", options=options)
    body = anthropic.requests[0].body
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 50)
    assert body["stop_sequences"] == ["w2"]
    assert body["metadata"] == {"user_id": "ann"}
    assert body["service_tier"] == "standard_only"
    assert text_of(run.events) == words(2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"options": {"seed": 7}}, "seed"),
        ({"options": {"logit_bias": {"1": 2.0}}}, "logit_bias"),
        ({"options": {"logprobs": True}}, "logprobs"),
        ({"format": {"type": "json_object"}}, "response_format"),
        ({"transcript": [message("user", AUDIO)]}, "messages"),
        ({"transcript": [message("user", {"type": "image", "url": "data:oops"})]}, "messages"),
    ],
)
async def test_what_it_does_not_take_is_refused_by_name(
    anthropic: FakeAnthropic, fields: dict[str, Any], param: str
) -> None:
    failed = (await refusal(anthropic, "words-1", **fields)).failed
    assert (failed.code, failed.param) == ("invalid_request", param)
    assert not anthropic.requests


async def test_a_thinking_budget_leaves_room_for_the_answer(anthropic: FakeAnthropic) -> None:
    for most in (4096, 500):
        options = {"reasoning_effort": "high", "max_output_tokens": most}
        await stepped(anthropic, "claude-haiku-4-5", options=options)
    roomy, narrow = (seen.body for seen in anthropic.requests)
    assert roomy["thinking"]["budget_tokens"] == 2048
    assert "thinking" not in narrow


async def test_every_effort_but_none_is_thinking(anthropic: FakeAnthropic) -> None:
    for effort in ("none", "minimal", "max"):
        options = {"reasoning_effort": effort, "max_output_tokens": 100_000}
        await stepped(anthropic, "claude-haiku-4-5", options=options)
    without, least, most = (seen.body.get("thinking") for seen in anthropic.requests)
    assert without is None
    assert least["budget_tokens"] < most["budget_tokens"]


async def test_a_format_that_need_not_be_strict_is_asked_for_all_the_same(
    anthropic: FakeAnthropic,
) -> None:
    form = {"type": "json_schema", "name": "any", "schema": {"type": "object"}, "strict": False}
    await stepped(anthropic, "claude-haiku-4-5", format=form)
    assert anthropic.requests[0].body["output_config"]["format"]["type"] == "json_schema"


async def test_a_cut_at_the_limit_is_a_length(anthropic: FakeAnthropic) -> None:
    run = await stepped(anthropic, "length")
    assert run.model.last is not None and run.model.last.reason == "length"


async def test_a_refusal_ends_as_filtered(anthropic: FakeAnthropic) -> None:
    run = await stepped(anthropic, "refusal")
    assert run.model.last is not None and run.model.last.reason == "content_filter"
    assert run.model.usage == Usage(run.model.usage.input_tokens, 2, cost=run.model.usage.cost)
