from typing import Any

import openai
import pytest

from tests.fakes.responses import FakeResponses, words

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


async def ask(upstream: FakeResponses, model: str, **more: Any) -> Any:
    async with openai.AsyncOpenAI(
        base_url=upstream.base_url, api_key="sk-test", max_retries=0
    ) as sdk:
        events = await sdk.responses.create(model=model, input="hi there", stream=True, **more)
        *_, last = [event async for event in events]
        return last.response


async def test_the_fake_speaks_to_the_official_client() -> None:
    async with FakeResponses() as upstream:
        for model, text, status in (
            ("words-16", words(16), "completed"),
            ("slow-4x200", words(4), "completed"),
            ("words-200", words(99), "incomplete"),
            ("filter", words(3), "incomplete"),
            ("failed", words(2), "failed"),
        ):
            response = await ask(upstream, model, max_output_tokens=99)
            assert (response.output_text, response.status) == (text, status)
        assert not upstream.closed and not upstream.open


async def test_tools_are_called_with_the_least_arguments() -> None:
    tools = [{"type": "function", "name": name, "parameters": SCHEMA} for name in "ab"]
    async with FakeResponses() as upstream:
        response = await ask(upstream, "tools-parallel", tools=tools)
    assert [(each.name, each.arguments) for each in response.output] == [
        ("a", '{"city": "text"}'),
        ("b", '{"city": "text"}'),
    ]


@pytest.mark.parametrize("model", ["reasoning", "refusal", "json"])
async def test_every_item_has_its_official_form(model: str) -> None:
    async with FakeResponses() as upstream:
        response = await ask(upstream, model)
    assert response.status == "completed" and response.usage.output_tokens > 0
