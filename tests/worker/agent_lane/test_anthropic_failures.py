"""What may go wrong at a provider with its own client, and what a caller sees of it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes.anthropic import FakeAnthropic, words
from tests.fakes.upstream import FakeUpstream
from tests.worker.agent_lane.asking import Asked, asked, chain_of, text_of
from tests.worker.agent_lane.items import call, message, result
from tests.worker.agent_lane.test_anthropic_wire import KEY, LOOK, spec
from tests.worker.backends import driving
from tests.worker.backends.driving import QUICK, no_gate, request
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import Failed
from trunkline_worker.agent_lane.chain import make_chain
from trunkline_worker.agent_lane.models import LaneModel, StepFailed
from trunkline_worker.backends.base import RunContext
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.resolver import Resolver, guarded
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import ModelSpec
from trunkline_worker.prices import Prices
from trunkline_worker.run_writer import RunBufferFull


async def failure(*specs: ModelSpec, **fields: Any) -> tuple[Failed, Asked]:
    async with chain_of(*specs, silence_timeout_s=0.3, **fields) as chain:
        run = asked(chain)
        with pytest.raises(StepFailed) as raised:
            await run.step()
        return raised.value.failed, run


@pytest.mark.parametrize(
    ("model", "code", "calls"),
    [
        ("status-400", "invalid_request", 1),
        ("context-length", "context_length_exceeded", 1),
        ("status-401", "upstream_rejected_us", 1),
        ("status-404", "upstream_rejected_us", 1),
        ("status-429", "upstream_rate_limited", 1),  # asks to wait for longer than we do
        ("status-500", "upstream_error", 2),
        ("status-529", "upstream_error", 2),
        ("unfinished-0", "upstream_error", 2),
        ("cut-0", "upstream_error", 2),
        ("hang", "upstream_timeout", 1),
        ("silence-0", "upstream_timeout", 1),
        ("html", "upstream_error", 1),
    ],
)
async def test_what_fails_before_the_first_token_has_its_code_and_its_retries(
    anthropic: FakeAnthropic, model: str, code: str, calls: int
) -> None:
    failed, run = await failure(spec(anthropic, model))
    assert (failed.code, run.events) == (code, [])
    assert len(anthropic.requests) == calls  # the client's own retries would multiply them
    for inside in ("very-secret", "127.0.0.1", str(anthropic.port)):
        assert inside not in failed.message


@pytest.mark.parametrize(
    ("model", "code", "count"),
    [
        ("cut-5", "upstream_error", 5),
        ("unfinished-5", "upstream_error", 5),
        ("garbage", "upstream_error", 2),
        ("error-chunk", "upstream_error", 2),
        ("silence-3", "upstream_timeout", 3),
    ],
)
async def test_what_fails_after_the_first_token_is_never_tried_again(
    anthropic: FakeAnthropic, model: str, code: str, count: int
) -> None:
    failed, run = await failure(spec(anthropic, model), spec(anthropic, "words-3"))
    assert (text_of(run.events), failed.code) == (words(count), code)
    assert failed.usage is not None and failed.usage.output_tokens == count
    assert len(anthropic.requests) == 1


async def test_what_the_provider_says_reaches_the_caller_without_secrets(
    anthropic: FakeAnthropic,
) -> None:
    failed, _ = await failure(spec(anthropic, "status-401"))
    assert "invalid x-api-key" in failed.message and KEY not in failed.message


async def test_the_wait_that_the_provider_asks_for_is_handed_on(anthropic: FakeAnthropic) -> None:
    failed, _ = await failure(spec(anthropic, "status-429"))
    assert failed.retry_after_s == 30


@pytest.mark.parametrize("model", ["flaky-1", "busy-1"])
async def test_a_passing_trouble_is_not_noticed(anthropic: FakeAnthropic, model: str) -> None:
    async with chain_of(spec(anthropic, model)) as chain:
        run = asked(chain)
        await run.step()
    assert text_of(run.events) == words(3)
    assert len(anthropic.requests) == 2


async def test_a_port_where_nobody_listens_is_an_upstream_error(
    anthropic: FakeAnthropic, unused_tcp_port: int
) -> None:
    lonely = spec(anthropic, "words-1", base_url=f"http://127.0.0.1:{unused_tcp_port}")
    failed, _ = await failure(lonely)
    assert failed.message == "The model provider could not be reached."


async def test_the_chain_goes_on_over_another_wire(
    anthropic: FakeAnthropic, upstream: FakeUpstream
) -> None:
    ours, theirs = spec(anthropic, "status-500"), driving.spec(upstream, "words-2")
    async with chain_of(ours, theirs) as chain:
        run = asked(chain)
        response = await run.step()
    assert text_of(run.events) == words(2)
    assert (response.model_name, response.provider_name) == ("words-2", "vllm")
    assert len(anthropic.requests) == 2
    async with chain_of(driving.spec(upstream, "status-404"), spec(anthropic, "words-4")) as chain:
        run = asked(chain)
        await run.step()
    assert text_of(run.events) == words(4)


async def test_what_one_model_cannot_be_asked_another_is(
    anthropic: FakeAnthropic, upstream: FakeUpstream
) -> None:
    async with chain_of(spec(anthropic, "words-1"), driving.spec(upstream, "words-2")) as chain:
        run = asked(chain, request(options={"seed": 7}))
        await run.step()
    assert text_of(run.events) == words(2) and not anthropic.requests


@pytest.mark.parametrize("model", ["silence-3", "silence-0", "hang", "slow-1000x100"])
async def test_a_cancelled_task_closes_the_socket(anthropic: FakeAnthropic, model: str) -> None:
    async with chain_of(spec(anthropic, model)) as chain:
        task = asyncio.create_task(asked(chain).step(), name="step")
        await anthropic.until(lambda: bool(anthropic.open))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await anthropic.until(lambda: len(anthropic.closed) == 1)
    assert len(anthropic.requests) == 1


async def test_what_hear_raises_closes_the_socket_and_is_raised(anthropic: FakeAnthropic) -> None:
    def full(_: object) -> None:
        raise RunBufferFull("full")

    async with chain_of(spec(anthropic, "slow-1000x100")) as chain:
        model = LaneModel(chain, request(), RunContext(no_gate, lambda _: None), full)
        run = Asked(model, request())
        with pytest.raises(RunBufferFull):
            await run.step()
        await anthropic.until(lambda: not anthropic.open)


async def test_a_run_that_waits_to_try_again_can_be_cancelled(anthropic: FakeAnthropic) -> None:
    patient = Retry(first_s=30, ceiling_s=30)
    async with chain_of(spec(anthropic, "status-500"), retry=patient) as chain:
        task = asyncio.create_task(asked(chain).step(), name="step")
        await anthropic.until(lambda: len(anthropic.requests) == 1 and not anthropic.open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_resolvers_guard_holds_for_these_clients_too(anthropic: FakeAnthropic) -> None:
    async def look_up(host: str, port: int) -> Any:
        return [(2, ("169.254.169.254", port))]

    client = HttpClient(Resolver(guarded(look_up)))
    models = [spec(anthropic, "words-1", base_url="http://metadata.example")]
    agent = AgentConfig(name="test", model=("anthropic:words-1",))
    chain = make_chain(agent, models, client, Prices(), retry=QUICK)
    with pytest.raises(StepFailed) as raised:
        await asked(chain).step()
    assert raised.value.failed.code == "agent_unavailable"
    await chain.aclose()


async def test_an_address_that_leads_nowhere_is_not_the_last_that_is_tried(
    anthropic: FakeAnthropic,
) -> None:
    async def look_up(_: str, port: int) -> Any:
        return [(2, ("127.0.0.2", 1)), (2, ("127.0.0.1", port))]

    client = HttpClient(Resolver(look_up))
    here = spec(anthropic, "words-2", base_url=f"http://models.example:{anthropic.port}")
    agent = AgentConfig(name="test", model=("anthropic:words-2",))
    chain = make_chain(agent, [here], client, Prices(), retry=QUICK)
    run = asked(chain)
    await run.step()
    await chain.aclose()
    assert text_of(run.events) == words(2)
    assert anthropic.requests[0].headers["host"] == f"models.example:{anthropic.port}"


@pytest.mark.parametrize("arguments", ['{"at": NaN}', '{"at": ', "[1]"])
async def test_a_callers_call_with_wrong_arguments_is_told_all_the_same(
    anthropic: FakeAnthropic, arguments: str
) -> None:
    said = {**call("c1"), "arguments": arguments}
    transcript: Any = [message("user", "look"), said, result("c1", "seen")]
    async with chain_of(spec(anthropic, "words-1")) as chain:
        await asked(chain, request(transcript=transcript, tools=[LOOK])).step()
    _, assistant, _ = anthropic.requests[0].body["messages"]
    assert assistant["content"][0]["input"] == {"INVALID_JSON": arguments}


async def test_who_asks_to_think_cannot_choose_a_tool_besides(anthropic: FakeAnthropic) -> None:
    choice: Any = {"mode": "required"}
    model = spec(anthropic, "claude-sonnet-4-20250514")
    async with chain_of(model) as chain:
        run = request(tools=[LOOK], tool_choice=choice, options={"reasoning_effort": "high"})
        with pytest.raises(StepFailed) as error:
            await asked(chain, run).step()
    assert (error.value.failed.code, error.value.failed.param) == ("invalid_request", "tool_choice")
    assert "reasoning_effort" in error.value.failed.message
    thinks = replace(model, settings={"reasoning_effort": "high"})
    async with chain_of(thinks) as chain:
        await asked(chain, request(tools=[LOOK], tool_choice=choice)).step()
    (sent,) = anthropic.requests
    assert sent.body["tool_choice"] == {"type": "any"}
    assert "thinking" not in sent.body or sent.body["thinking"]["type"] == "disabled"
