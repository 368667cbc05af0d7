import json

import openai
import pytest

from tests.fakes.upstream import FakeUpstream, words


def client(upstream: FakeUpstream) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=upstream.base_url, api_key="sk-test", max_retries=0)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_fake_speaks_to_the_official_client(stream: bool) -> None:
    async with FakeUpstream() as upstream, client(upstream) as sdk:
        ask = {"messages": [{"role": "user", "content": "hi there"}]}
        for model in ("words-16", "slow-4x200", "split-3", "eager"):
            if stream:
                chunks = await sdk.chat.completions.create(model=model, stream=True, **ask)  # type: ignore[call-overload]
                text = "".join([c.choices[0].delta.content or "" async for c in chunks])
            else:
                whole = await sdk.chat.completions.create(model=model, **ask)  # type: ignore[call-overload]
                text = whole.choices[0].message.content
            count = {"words-16": 16, "slow-4x200": 4, "split-3": 3}.get(model)
            assert text == (words(count) if count else "all at once")
        assert [seen.model for seen in upstream.requests][-1] == "eager"
        assert upstream.connections == 1 and not upstream.closed


async def test_a_peer_that_leaves_is_recorded_at_once() -> None:
    async with FakeUpstream() as upstream, client(upstream) as sdk:
        ask = {"messages": [{"role": "user", "content": "hi"}]}
        chunks = await sdk.chat.completions.create(model="silence-3", stream=True, **ask)  # type: ignore[call-overload]
        await anext(aiter(chunks))
        await chunks.close()
        await upstream.until(lambda: len(upstream.closed) == 1)
        assert upstream.closed[0].model == "silence-3"
        models = await sdk.models.list()
        assert models.data == []


@pytest.mark.parametrize("stream", [True, False])
async def test_tools_are_called_with_the_least_arguments(stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}} for name in "ab"
    ]
    ask = {"messages": [{"role": "user", "content": "hi"}], "tools": tools}
    async with FakeUpstream() as upstream, client(upstream) as sdk:
        if stream:
            async with sdk.chat.completions.stream(model="tools-parallel", **ask) as events:  # type: ignore[arg-type]
                completion = await events.get_final_completion()
        else:
            completion = await sdk.chat.completions.create(model="tools-parallel", **ask)  # type: ignore
        calls = completion.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == ["a", "b"]
        assert all(json.loads(call.function.arguments) == {"city": "text"} for call in calls)
