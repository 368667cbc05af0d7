"""The agent lane on an OpenAI-compatible upstream: the direct lane's client under an agent."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic_ai import Agent, DeferredToolRequests, NativeOutput, StructuredDict
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.toolsets import ExternalToolset

from tests.fakes.upstream import FakeUpstream, words
from tests.worker.agent_lane.asking import asked, chain_of, text_of
from tests.worker.agent_lane.items import call, message, reasoning, result
from tests.worker.backends.driving import no_gate, request, spec
from trunkline_shared.config.models import Limits
from trunkline_shared.events import (
    ReasoningDelta,
    RefusalDelta,
    RunEvent,
    TextDelta,
    ToolArgsDelta,
    ToolCallStart,
    Usage,
)
from trunkline_shared.transcript import Tool
from trunkline_worker.agent_lane.history import to_messages
from trunkline_worker.agent_lane.models import LaneModel, StepFailed, usage_in
from trunkline_worker.agent_lane.tool_forms import definition_of, tool_of
from trunkline_worker.backends.base import RunContext
from trunkline_worker.run_writer import RunBufferFull

LOOK: Tool = {"type": "function", "name": "look", "spec": {"type": "object", "properties": {}}}
WRITE: Tool = {"type": "custom", "name": "write", "description": "Writes."}
PRICED = {"rates": (0.25, 1.0)}


async def test_what_the_model_says_is_heard_and_given_to_the_agent(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "words-40", **PRICED)) as chain:
        run = asked(chain, request("two words"))
        agent: Agent[None, str] = Agent(run.model)
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert outcome.output == words(40)
    assert text_of(run.events) == words(40)
    assert run.model.usage == Usage(2, 40, cost=2 * 0.25 + 40)
    end = run.model.last
    assert end is not None and (end.reason, end.model) == ("stop", "words-40")
    assert (end.service_tier, end.system_fingerprint) == ("default", "fp_fake")


async def test_the_wire_is_the_direct_lanes(upstream: FakeUpstream) -> None:
    transcript = [
        message("developer", "In French."),
        message("user", "look", name="ann"),
        reasoning("Hm."),
        call("c1"),
        result("c1", "seen"),
        message("assistant", "The answer is"),
    ]
    async with chain_of(spec(upstream, "words-1", extra_body={"top_k": 3})) as chain:
        run = asked(
            chain,
            request(transcript=transcript, options={"temperature": 0.5, "seed": 7}, tools=[LOOK]),
        )
        await run.step()
    body = upstream.requests[0].body
    assert [each["role"] for each in body["messages"]] == [
        *("system", "user", "assistant", "tool", "assistant"),
    ]
    assert body["messages"][1] == {"role": "user", "content": "look", "name": "ann"}
    assert body["messages"][2]["reasoning_content"] == "Hm."
    assert body["messages"][-1] == {"role": "assistant", "content": "The answer is"}
    assert (body["temperature"], body["seed"], body["top_k"]) == (0.5, 7, 3)
    assert body["tools"][0]["function"]["name"] == "look"


async def test_reasoning_is_heard_and_kept(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "reasoning")) as chain:
        run = asked(chain, request("a b"))
        response = await run.step()
    assert run.events[:2] == [ReasoningDelta("Let me "), ReasoningDelta("think.")]
    assert [type(part) for part in response.parts] == [ThinkingPart, TextPart]
    counts = usage_in(response)
    assert (counts.cached_tokens, counts.reasoning_tokens, counts.cost) == (1, 2, None)


async def test_calls_are_heard_with_indexes_of_the_step(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "tools-parallel")) as chain:
        run = asked(chain, request(tools=[LOOK, WRITE]))
        response = await run.step()
    starts = [event for event in run.events if isinstance(event, ToolCallStart)]
    assert starts == [
        ToolCallStart(0, "call_0", "look"),
        ToolCallStart(1, "call_1", "write", "custom"),
    ]
    pieces = [event for event in run.events if isinstance(event, ToolArgsDelta)]
    assert text_of([each for each in pieces if each.index == 1]) == "some free text"
    look, write = response.parts
    assert isinstance(look, ToolCallPart) and look.args_as_dict() == {}
    assert isinstance(write, ToolCallPart) and write.args_as_dict() == {"input": "some free text"}
    assert response.finish_reason == "tool_call"


async def test_the_callers_calls_end_an_agents_run(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "tools-parallel")) as chain:
        run = asked(chain, request(tools=[LOOK, WRITE]))
        agent = Agent(
            run.model,
            output_type=[str, DeferredToolRequests],
            toolsets=[ExternalToolset([definition_of(LOOK), definition_of(WRITE)])],
        )
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert isinstance(outcome.output, DeferredToolRequests)
    assert [each.tool_name for each in outcome.output.calls] == ["look", "write"]


async def test_the_agents_own_tools_are_called_over_several_steps(upstream: FakeUpstream) -> None:
    def look() -> str:
        """Looks."""
        return "a bird"

    async with chain_of(spec(upstream, "tools", **PRICED)) as chain:
        run = asked(chain)
        agent: Agent[None, str] = Agent(run.model, tools=[look])
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert outcome.output == "The tool said: a bird"
    assert len(upstream.requests) == 2
    assert upstream.requests[1].body["messages"][-1]["content"] == "a bird"
    first, second = (
        each.usage for each in outcome.all_messages() if isinstance(each, ModelResponse)
    )
    assert run.model.usage.output_tokens == first.output_tokens + second.output_tokens
    assert first.cost is not None and second.cost is not None
    assert run.model.usage.cost == pytest.approx(float(first.cost + second.cost))


async def test_a_format_is_asked_for_natively(upstream: FakeUpstream) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with chain_of(spec(upstream, "json")) as chain:
        run = asked(chain)
        agent = Agent(run.model, output_type=NativeOutput(StructuredDict(schema, name="count")))
        outcome = await agent.run(message_history=to_messages(run.request.transcript))
    assert outcome.output == {"n": 1}
    wanted = upstream.requests[0].body["response_format"]["json_schema"]
    assert (wanted["name"], wanted["schema"]["required"]) == ("count", ["n"])


async def test_a_callers_format_stands_where_the_agent_answers_in_text(
    upstream: FakeUpstream,
) -> None:
    async with chain_of(spec(upstream, "json")) as chain:
        run = asked(chain, request(format={"type": "json_object"}))
        await run.step()
    assert upstream.requests[0].body["response_format"] == {"type": "json_object"}


async def test_a_refusal_is_heard_as_one(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "refusal")) as chain:
        run = asked(chain)
        await run.step()
    assert run.events == [RefusalDelta("I will "), RefusalDelta("not.")]


async def test_logprobs_come_with_the_text(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "words-2")) as chain:
        run = asked(chain, request(options={"logprobs": True}))
        await run.step()
    first = run.events[0]
    assert isinstance(first, TextDelta) and first.logprobs is not None


@pytest.mark.parametrize(
    ("model", "code", "calls", "said"),
    [
        ("status-400", "invalid_request", 1, ""),
        ("status-401", "upstream_rejected_us", 1, ""),
        ("status-500", "upstream_error", 2, ""),
        ("cut-5", "upstream_error", 1, words(5)),
        ("silence-3", "upstream_timeout", 1, words(3)),
    ],
)
async def test_a_failure_ends_the_step_with_its_code(
    upstream: FakeUpstream, model: str, code: str, calls: int, said: str
) -> None:
    async with chain_of(spec(upstream, model), silence_timeout_s=0.2) as chain:
        run = asked(chain)
        with pytest.raises(StepFailed) as failure:
            await run.step()
    assert failure.value.failed.code == code
    assert (text_of(run.events), len(upstream.requests)) == (said, calls)
    used = failure.value.failed.usage
    assert ((used is not None and used.output_tokens) or 0) == said.count("w")


async def test_the_budget_of_a_run_counts_the_steps_before(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "words-9", **PRICED), limits=Limits(max_cost=10)) as chain:
        run = asked(chain, request("one"))
        await run.step()
        assert run.model.usage.cost == 9.25
        with pytest.raises(StepFailed) as failure:
            await run.step()
    assert failure.value.limit == "limits.max_cost"
    assert failure.value.failed.usage == run.model.usage


async def test_a_recalled_response_counts_as_a_new_one(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "words-9", **PRICED)) as chain:
        run, later = asked(chain), asked(chain)
        response = await run.step()
        later.model.recall(response)
    assert (later.model.usage, later.model.last) == (run.model.usage, run.model.last)


async def test_the_choice_of_the_caller_leaves_the_agents_tools_alone(
    upstream: FakeUpstream,
) -> None:
    own = definition_of({"type": "function", "name": "own"})
    async with chain_of(spec(upstream, "words-1")) as chain:
        for choice in (
            {"mode": "none"},
            {"mode": "required"},
            {"mode": "allowed", "tools": [LOOK]},
        ):
            run = asked(chain, request(tools=[LOOK, WRITE], tool_choice=choice))
            tools = [definition_of(LOOK), definition_of(WRITE), own]
            await run.step(function_tools=tools)
    none, required, allowed = (seen.body for seen in upstream.requests)
    assert "tool_choice" not in none
    assert [tool["function"]["name"] for tool in none["tools"]] == ["own"]
    assert required["tool_choice"] == "required" and len(required["tools"]) == 3
    assert [tool["function"]["name"] for tool in allowed["tools"]] == ["look", "own"]


async def test_what_hear_raises_reaches_the_agents_caller(upstream: FakeUpstream) -> None:
    def full(_: Sequence[RunEvent]) -> None:
        raise RunBufferFull("full")

    async with chain_of(spec(upstream, "slow-1000x100")) as chain:
        model = LaneModel(chain, request(), RunContext(no_gate, lambda _: None), full)
        with pytest.raises(RunBufferFull):
            await Agent(model).run(message_history=to_messages([message("user", "hi")]))
        await upstream.until(lambda: not upstream.open)


async def test_cancelling_an_agent_closes_the_socket(upstream: FakeUpstream) -> None:
    async with chain_of(spec(upstream, "silence-3")) as chain:
        run = asked(chain)
        task = asyncio.create_task(run.step(), name="step")
        await upstream.until(lambda: bool(upstream.open))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.until(lambda: len(upstream.closed) == 1)


def test_a_tool_becomes_a_definition_and_comes_back() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
    tools: list[Tool] = [LOOK, WRITE, {"type": "custom", "name": "spell", "spec": grammar}]
    assert [tool_of(definition_of(tool)) for tool in tools] == tools
    assert "start: /a+/" in (definition_of(tools[2]).description or "")
