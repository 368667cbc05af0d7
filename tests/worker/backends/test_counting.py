"""The tokens of requests that nobody answers."""

from typing import Any

import pytest

from tests.worker.agent_lane.items import AUDIO, FILE, IMAGE, call, message, result
from tests.worker.backends.driving import events_of, request
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.events import Finished
from trunkline_shared.run import ESTIMATED
from trunkline_worker.backends.counting import MEDIA_TOKENS, MESSAGE_TOKENS, estimated
from trunkline_worker.backends.echo import EchoBackend

AGENT = AgentConfig(name="test", model=("vllm:x",), base_url="http://h/v1")
PROMPTED = AGENT.model_copy(update={"system_prompt": ("p" * 40, "p" * 40)})


def estimate(agent: AgentConfig = AGENT, **fields: Any) -> int:
    end = estimated(request(**fields), agent)
    assert (end.reason, end.detail, end.usage.output_tokens) == ("stop", ESTIMATED, 0)
    return end.usage.input_tokens


def test_four_bytes_are_a_token_and_each_message_takes_four() -> None:
    assert estimate(text="x" * 40) == 10 + MESSAGE_TOKENS
    assert estimate(text="ø" * 40) == 20 + MESSAGE_TOKENS
    assert estimate(text="") == MESSAGE_TOKENS
    assert estimate(PROMPTED, text="x" * 40) == 30 + 3 * MESSAGE_TOKENS


def test_calls_tools_and_schemas_count_and_media_are_a_guess() -> None:
    turn = [message("user", "x" * 40), call("c1"), result("c1", "x" * 40)]
    assert estimate(transcript=turn) > 20 + 3 * MESSAGE_TOKENS
    shown = [message("user", IMAGE, FILE, AUDIO)]
    assert estimate(transcript=shown) == 3 * MEDIA_TOKENS + MESSAGE_TOKENS
    alone = estimate()
    assert estimate(tools=[{"type": "function", "name": "look"}]) > alone
    assert estimate(format={"type": "json_schema", "schema": {"type": "object"}}) > alone


def test_half_of_a_surrogate_pair_counts_too() -> None:
    assert estimate(text="\ud800") == 1 + MESSAGE_TOKENS


async def test_echo_counts_what_it_would_have_used() -> None:
    backend = EchoBackend(AgentConfig(name="test", type="echo"))
    [end] = await events_of(backend, request("one two", purpose="count"))
    answered = await events_of(backend, request("one two"))
    assert isinstance(end, Finished) and isinstance(answered[-1], Finished)
    assert end.usage.input_tokens == answered[-1].usage.input_tokens == 2
    assert (end.detail, end.usage.output_tokens) == (None, 0)


@pytest.mark.parametrize("purpose", ["", "summary"])
async def test_any_other_purpose_is_answered(purpose: str) -> None:
    backend = EchoBackend(AgentConfig(name="test", type="echo"))
    assert len(await events_of(backend, request("one two", purpose=purpose))) == 3
