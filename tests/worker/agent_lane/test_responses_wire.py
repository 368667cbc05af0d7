"""The agent lane on OpenAI's Responses API."""

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import TextPart, ThinkingPart, ToolCallPart

from tests.fakes.responses import FakeResponses, words
from tests.worker.agent_lane.asking import Asked, asked, chain_of, text_of
from tests.worker.agent_lane.items import (
    FILE,
    IMAGE,
    LINK,
    UPLOADED,
    call,
    message,
    opaque,
    reasoning,
    result,
)
from tests.worker.backends.driving import request
from trunkline_shared.events import (
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
)
from trunkline_shared.transcript import Item, Tool
from trunkline_worker.agent_lane.history import to_items, to_messages
from trunkline_worker.agent_lane.models import StepFailed
from trunkline_worker.models import ModelSpec

LOOK: Tool = {"type": "function", "name": "look", "spec": {"type": "object", "properties": {}}}
WRITE: Tool = {"type": "custom", "name": "write", "description": "Writes."}


def spec(responses: FakeResponses, name: str, **fields: Any) -> ModelSpec:
    values: dict[str, Any] = {"provider": "openai", "wire": "responses", "api_key": "sk-secret-1"}
    return ModelSpec(**{**values, "name": name, "base_url": responses.base_url, **fields})


async def stepped(responses: FakeResponses, name: str, **fields: Any) -> Asked:
    async with chain_of(spec(responses, name)) as chain:
        run = asked(chain, request(**fields))
        await run.step()
        return run


async def test_every_piece_is_heard_from_the_first_on(responses: FakeResponses) -> None:
    run = await stepped(responses, "words-5")
    assert run.events == [TextDelta(f"w{n} ") for n in range(5)]
    end = run.model.last
    assert end is not None
    assert (end.reason, end.model, end.service_tier) == ("stop", "words-5", "default")
    assert (run.model.usage.output_tokens, run.model.usage.cost) == (5, None)
    assert responses.requests[0].headers["authorization"] == "Bearer sk-secret-1"


async def test_without_a_key_none_is_sent(responses: FakeResponses) -> None:
    async with chain_of(spec(responses, "words-1", api_key=None)) as chain:
        await asked(chain).step()
    assert "authorization" not in responses.requests[0].headers


async def test_the_transcript_is_on_the_wire(responses: FakeResponses) -> None:
    transcript = [
        message("developer", "Be brief."),
        message("user", "look", IMAGE, LINK, FILE, UPLOADED),
        reasoning("Nobody signed this."),
        opaque(),
        message("assistant", "I look."),
        call("c1"),
        result("c1", "seen"),
    ]
    await stepped(responses, "words-1", transcript=transcript, tools=[LOOK])
    body = responses.requests[0].body
    system, user, said, called, given = body["input"]
    assert system["role"] in ("system", "developer") and "Be brief." in str(system["content"])
    _, image, link, file, uploaded = user["content"]
    assert image["image_url"].startswith("data:image/png;base64,")
    assert (link["image_url"], link["detail"]) == (LINK["url"], "low")
    assert file["file_data"].startswith("data:application/pdf;base64,")
    assert uploaded["file_id"] == "file-1"
    assert "I look." in str(said)
    assert (called["type"], called["name"], called["call_id"]) == ("function_call", "look", "c1")
    assert (given["type"], given["output"]) == ("function_call_output", "seen")
    assert body["store"] is False


async def test_an_answer_last_is_no_answer_of_the_agents(responses: FakeResponses) -> None:
    items: list[Item] = [message("user", "hi"), message("assistant", "The answer is")]
    async with chain_of(spec(responses, "words-2")) as chain:
        run = asked(chain, request(transcript=items))
        agent: Agent[None, str] = Agent(run.model)
        outcome = await agent.run(message_history=to_messages(items))
    assert outcome.output == words(2)
    assert responses.requests[0].body["input"][-1]["role"] == "assistant"


async def test_reasoning_is_heard_and_goes_back_encrypted(responses: FakeResponses) -> None:
    async with chain_of(spec(responses, "gpt-5-reasoning")) as chain:
        options = {"reasoning_effort": "low", "reasoning_summary": "auto"}
        run = asked(chain, request(options=options))
        response = await run.step()
        again = [*to_messages(run.request.transcript), response]
        later = asked(chain, request(transcript=to_items([response])))
        agent: Agent[None, str] = Agent(later.model)
        await agent.run("go on", message_history=again)
    assert run.events[:2] == [ReasoningDelta("Let me ", 0), ReasoningDelta("think.", 0)]
    assert [type(part) for part in response.parts] == [ThinkingPart, TextPart]
    assert run.model.usage.reasoning_tokens == 2 and run.model.usage.cached_tokens == 1
    first, second = (seen.body for seen in responses.requests)
    assert first["reasoning"] == {"effort": "low", "summary": "auto"}
    kinds = [item.get("type") for item in second["input"]]
    assert "reasoning" in kinds
    (thought,) = [item for item in second["input"] if item.get("type") == "reasoning"]
    assert thought["encrypted_content"] == "ZW5jcnlwdGVk"


async def test_calls_are_heard_and_a_custom_tools_text_is_its_own(
    responses: FakeResponses,
) -> None:
    async with chain_of(spec(responses, "tools-parallel")) as chain:
        run = asked(chain, request(tools=[LOOK, WRITE]))
        response = await run.step()
    assert run.events == [
        ToolCallStart(0, "call_0", "look"),
        ToolArgsDelta(0, "{}"),
        ToolCallStart(1, "call_1", "write", "custom"),
        ToolArgsDelta(1, "text"),
    ]
    assert [type(part) for part in response.parts] == [ToolCallPart, ToolCallPart]
    assert response.finish_reason == "tool_call"
    assert to_items([response])[1] == call("call_1", "write", "text", "custom")


async def test_an_agents_tools_are_called_over_several_steps(responses: FakeResponses) -> None:
    def look() -> str:
        """Looks."""
        return "a bird"

    async with chain_of(spec(responses, "tools", rates=(0.5, 1.0))) as chain:
        run = asked(chain)
        agent: Agent[None, str] = Agent(run.model, tools=[look])
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert outcome.output == "The tool said: a bird"
    assert len(responses.requests) == 2
    assert run.model.usage.cost is not None


async def test_a_refusal_is_heard_as_one(responses: FakeResponses) -> None:
    async with chain_of(spec(responses, "refusal")) as chain:
        run = asked(chain)
        response = await run.step()
    assert run.events == [RefusalDelta("I will not.")]
    assert run.model.last is not None and run.model.last.reason == "stop"
    assert to_items([response]) == [
        message("assistant", {"type": "refusal", "text": "I will not."})
    ]


async def test_formats_are_asked_for_natively(responses: FakeResponses) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "name": "count", "schema": schema, "strict": True}
    run = await stepped(responses, "json", format=form)
    assert text_of(run.events) == '{"n": 1}'
    await stepped(responses, "json", format={"type": "json_object"})
    one, other = (seen.body["text"]["format"] for seen in responses.requests)
    assert (one["type"], one["name"], one["strict"]) == ("json_schema", "count", True)
    assert other == {"type": "json_object"}


OPEN = {"type": "object", "properties": {"labels": {"type": "object"}}, "required": ["labels"]}


@pytest.mark.parametrize("strict", [{}, {"strict": False}])
async def test_a_schema_that_need_not_be_strict_stays_as_open_as_it_is(
    responses: FakeResponses, strict: dict[str, Any]
) -> None:
    tool: Any = {"type": "function", "name": "label", "spec": OPEN, **strict}
    form: Any = {"type": "json_schema", "name": "labels", "schema": OPEN, **strict}
    await stepped(responses, "words-1", tools=[tool], format=form)
    body = responses.requests[0].body
    for said in (body["tools"][0]["parameters"], body["text"]["format"]["schema"]):
        assert "additionalProperties" not in said
        assert "additionalProperties" not in said["properties"]["labels"]
    assert (body["tools"][0]["strict"], body["text"]["format"]["strict"]) == (False, False)


async def test_options_are_said_in_the_providers_words(responses: FakeResponses) -> None:
    options = {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 3,
        "user": "ann",
        "safety_identifier": "a1",
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "verbosity": "low",
        "parallel_tool_calls": False,
    }
    run = await stepped(responses, "words-9", options=options, tools=[LOOK])
    body = responses.requests[0].body
    for name in ("temperature", "top_p", "max_output_tokens", "user", "safety_identifier"):
        assert body[name] == options[name]
    assert (body["service_tier"], body["prompt_cache_key"]) == ("flex", "k")
    assert body["text"]["verbosity"] == "low" and body["parallel_tool_calls"] is False
    assert text_of(run.events) == words(3)
    assert run.model.last is not None and run.model.last.reason == "length"


async def test_a_model_that_ignores_its_limit_is_cut(responses: FakeResponses) -> None:
    run = await stepped(responses, "greedy-5000", options={"max_output_tokens": 50})
    assert run.model.last is not None and run.model.last.reason == "length"
    assert len(run.events) < 100


@pytest.mark.parametrize(
    ("model", "code", "calls", "count"),
    [
        ("status-400", "invalid_request", 1, 0),
        ("context-length", "context_length_exceeded", 1, 0),
        ("status-401", "upstream_rejected_us", 1, 0),
        ("status-429", "upstream_rate_limited", 1, 0),
        ("no-quota", "upstream_rate_limited", 1, 0),
        ("status-500", "upstream_error", 2, 0),
        ("cut-0", "upstream_error", 2, 0),
        ("unfinished-0", "upstream_error", 2, 0),
        ("hang", "upstream_timeout", 1, 0),
        ("html", "upstream_error", 1, 0),
        ("cut-5", "upstream_error", 1, 5),
        ("unfinished-5", "upstream_error", 1, 5),
        ("silence-3", "upstream_timeout", 1, 3),
        ("failed", "upstream_error", 1, 2),
        ("error-chunk", "upstream_error", 1, 2),
        ("garbage", "upstream_error", 1, 2),
    ],
)
async def test_a_failure_has_its_code_and_its_retries(
    responses: FakeResponses, model: str, code: str, calls: int, count: int
) -> None:
    async with chain_of(spec(responses, model), silence_timeout_s=0.3) as chain:
        run = asked(chain)
        with pytest.raises(StepFailed) as failure:
            await run.step()
    assert failure.value.failed.code == code
    assert (text_of(run.events), len(responses.requests)) == (words(count), calls)
    for inside in ("sk-secret", "127.0.0.1", str(responses.port)):
        assert inside not in failure.value.failed.message


async def test_the_parameter_that_the_provider_names_is_named(responses: FakeResponses) -> None:
    async with chain_of(spec(responses, "status-400")) as chain:
        with pytest.raises(StepFailed) as failure:
            await asked(chain).step()
    assert failure.value.failed.param == "temperature"


@pytest.mark.parametrize("model", ["silence-3", "hang", "slow-1000x100"])
async def test_a_cancelled_task_closes_the_socket(responses: FakeResponses, model: str) -> None:
    async with chain_of(spec(responses, model)) as chain:
        task = asyncio.create_task(asked(chain).step(), name="step")
        await responses.until(lambda: bool(responses.open))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await responses.until(lambda: len(responses.closed) == 1)
