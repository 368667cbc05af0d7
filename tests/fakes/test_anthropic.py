import os
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.fakes.anthropic import FakeAnthropic, words
from tests.fakes.upstream_process import AnthropicProcess

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "hi there"}], "max_tokens": 99}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"name": name, "input_schema": SCHEMA} for name in "ab"]


def client(upstream: FakeAnthropic) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=upstream.base_url, api_key="sk-test", max_retries=0)


async def ask(
    sdk: anthropic.AsyncAnthropic, model: str, stream: bool, **more: Any
) -> anthropic.types.Message:
    if not stream:
        whole: anthropic.types.Message = await sdk.messages.create(model=model, **{**ASK, **more})
        return whole
    async with sdk.messages.stream(model=model, **{**ASK, **more}) as events:
        return await events.get_final_message()


@pytest.mark.parametrize("stream", [True, False])
async def test_the_fake_speaks_to_the_official_client(stream: bool) -> None:
    async with FakeAnthropic() as upstream, client(upstream) as sdk:
        for model, text, stop in (
            ("words-16", words(16), "end_turn"),
            ("slow-4x200", words(4), "end_turn"),
            ("length", words(3), "max_tokens"),
            ("refusal", "I will not.", "refusal"),
            ("words-200", words(99), "max_tokens"),
        ):
            message = await ask(sdk, model, stream)
            assert [block.model_dump()["text"] for block in message.content] == [text]
            assert message.stop_reason == stop
        assert upstream.requests[-1].headers["authorization"] == "Bearer sk-test"
        assert not upstream.closed and not upstream.open


@pytest.mark.parametrize("stream", [True, False])
async def test_it_thinks_stops_where_it_is_told_and_counts_its_cache(stream: bool) -> None:
    async with FakeAnthropic() as upstream, client(upstream) as sdk:
        message = await ask(sdk, "thinking", stream)
        thought, answer = (block.model_dump() for block in message.content)
        assert (thought["thinking"], thought["signature"]) == ("Let me think.", "c2lnbmVk")
        assert answer["text"] == "Done thinking"
        stopped = await ask(sdk, "words-9", stream, stop_sequences=["w2"])
        assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "w2")
        usage = (await ask(sdk, "cached", stream)).usage
        counted = (usage.input_tokens, usage.output_tokens)
        assert counted == (2, 3)
        assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (5, 7)
        tokens = await sdk.messages.count_tokens(model="words-9", messages=ASK["messages"])
        assert tokens.input_tokens == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_tools_are_called_with_the_least_arguments(stream: bool) -> None:
    async with FakeAnthropic() as upstream, client(upstream) as sdk:
        message = await ask(sdk, "tools-parallel", stream, tools=TOOLS)
        calls = [block.model_dump() for block in message.content]
        assert [(call["name"], call["input"]) for call in calls] == [
            ("a", {"city": "text"}),
            ("b", {"city": "text"}),
        ]
        assert message.stop_reason == "tool_use"
        choice = {"type": "tool", "name": "b"}
        named = await ask(sdk, "tools", stream, tools=TOOLS, tool_choice=choice)
        assert [block.model_dump()["name"] for block in named.content] == ["b"]
        result = {"type": "tool_result", "tool_use_id": calls[0]["id"], "content": "rain"}
        turns = [
            *ASK["messages"],
            {"role": "assistant", "content": calls[:1]},
            {"role": "user", "content": [result]},
        ]
        after = await ask(sdk, "tools", stream, tools=TOOLS, messages=turns)
        assert after.content[0].model_dump()["text"] == "The tool said: rain"


@pytest.mark.parametrize("status", [401, 429, 529])
async def test_errors_are_those_of_the_official_client(status: int) -> None:
    async with FakeAnthropic() as upstream, client(upstream) as sdk:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await ask(sdk, f"status-{status}", stream=True)
        assert caught.value.status_code == status
        assert ("sk-test" in str(caught.value)) == (status == 401)


async def test_a_peer_that_leaves_is_recorded_at_once() -> None:
    async with FakeAnthropic() as upstream, client(upstream) as sdk:
        async with sdk.messages.stream(model="silence-3", **ASK) as events:
            await anext(aiter(events.text_stream))
        await upstream.until(lambda: len(upstream.closed) == 1)
        assert upstream.closed[0].model == "silence-3"


async def test_it_is_a_process_too(tmp_path: Path) -> None:
    process = AnthropicProcess(tmp_path / "log", os.environ)
    try:
        sdk = anthropic.Anthropic(base_url=process.base_url, api_key="sk-test", max_retries=0)
        message = sdk.messages.create(model="words-2", **ASK)
        assert message.content[0].model_dump()["text"] == words(2)
        assert [seen["model"] for seen in process.requests()] == ["words-2"]
    finally:
        process.stop()
