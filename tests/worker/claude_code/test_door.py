import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.fakes.anthropic import FakeAnthropic, words
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.retry import Retry
from trunkline_worker.backends.upstream_errors import Fault
from trunkline_worker.claude_code.door import Behind, Door
from trunkline_worker.claude_code.lodging import Lodging
from trunkline_worker.models import ModelSpec
from trunkline_worker.sandbox.walls import Sandbox
from trunkline_worker.sandbox.workspace import Workspace

KEY = "sk-ant-planted-0123456789"
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 99}


@dataclass
class Seen:
    """What the door asked and told."""

    admitted: list[str] = field(default_factory=list)
    faults: list[tuple[Fault, bool]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def admit(self, spec: ModelSpec) -> None:
        self.admitted.append(spec.name)
        self.came.set()
        await self.open.wait()

    def failed(self, fault: Fault, begun: bool) -> None:
        self.faults.append((fault, begun))


Opening = Callable[..., Any]


@pytest.fixture
async def opening(tmp_path: Path) -> AsyncIterator[Opening]:
    client = HttpClient()

    @asynccontextmanager
    async def opened(
        upstream: FakeAnthropic, *models: str, **spec: Any
    ) -> AsyncIterator[tuple[anthropic.AsyncAnthropic, Seen]]:
        chain = [
            Behind.of(
                ModelSpec(
                    provider="anthropic",
                    name=name,
                    base_url=upstream.base_url,
                    api_key=KEY,
                    **spec,
                ),
                client,
                connect_timeout_s=5,
                silence_timeout_s=1,
            )
            for name in models
        ]
        place = Lodging(tmp_path, tmp_path, tmp_path, Sandbox("none"), Workspace(tmp_path))
        seen = Seen()
        seen.open.set()
        door = Door(place, chain, Retry(1, 0.001), admit=seen.admit, failed=seen.failed)
        await door.open()
        url = door.variables["ANTHROPIC_BASE_URL"]
        async with anthropic.AsyncAnthropic(
            base_url=url, api_key="unused", default_headers={"x-api-key": door.key}, max_retries=0
        ) as sdk:
            try:
                yield sdk, seen
            finally:
                await door.aclose()

    yield opened
    await client.aclose()


async def text_of(sdk: anthropic.AsyncAnthropic, model: str = "any", **more: Any) -> str:
    async with sdk.messages.stream(model=model, **{**ASK, **more}) as events:
        return "".join([text async for text in events.text_stream])


async def test_who_asks_through_it_needs_no_key_of_the_models(opening: Opening) -> None:
    async with FakeAnthropic() as upstream, opening(upstream, "words-3") as (sdk, seen):
        assert await text_of(sdk) == words(3)
        whole = await sdk.messages.create(model="any", **ASK)
        assert whole.content[0].text == words(3)
        count = await sdk.messages.count_tokens(model="any", messages=ASK["messages"])
        assert count.input_tokens == 1
        assert {each.headers["x-api-key"] for each in upstream.requests} == {KEY}
        assert seen.admitted == ["words-3"] * 3 and not seen.faults


async def test_nobody_else_gets_through_it(opening: Opening) -> None:
    async with FakeAnthropic() as upstream, opening(upstream, "words-3") as (sdk, _):
        strange = sdk.with_options(default_headers={"x-api-key": "guessed"})
        with pytest.raises(anthropic.AuthenticationError):
            await text_of(strange)
        with pytest.raises(anthropic.NotFoundError):
            await sdk.models.list()
        assert not upstream.requests


async def test_failed_calls_are_made_again_then_go_to_the_next_model(opening: Opening) -> None:
    async with FakeAnthropic() as upstream:
        async with opening(upstream, "flaky-1") as (sdk, seen):
            assert await text_of(sdk) == words(3) and not seen.faults
        upstream.reset()
        async with opening(upstream, "status-500", "words-2") as (sdk, seen):
            assert await text_of(sdk) == words(2) == await text_of(sdk)
            assert seen.admitted == ["status-500", "status-500", "words-2", "words-2"]


@pytest.mark.parametrize(
    ("model", "code", "begun"),
    [
        ("status-401", "upstream_rejected_us", False),
        ("status-429", "upstream_rate_limited", False),
        ("error-chunk", "upstream_error", True),
        ("cut-3", "upstream_error", True),
        ("unfinished-3", "upstream_error", True),
        ("silence-3", "upstream_timeout", True),
        ("html", "upstream_error", False),
        ("hang", "upstream_timeout", False),
    ],
)
async def test_a_call_that_is_given_up_is_told_once(
    opening: Opening, model: str, code: str, begun: bool
) -> None:
    async with FakeAnthropic() as upstream, opening(upstream, model) as (sdk, seen):
        try:
            said = await text_of(sdk)
        except anthropic.APIError:
            said = ""
        ((fault, had_begun),) = seen.faults
        assert (fault.failed.code, had_begun) == (code, begun)
        assert KEY not in fault.failed.message
        assert said == "" or words(3).startswith(said)
        await upstream.until(lambda: not upstream.open)


async def test_who_leaves_and_a_door_that_closes_end_the_call(opening: Opening) -> None:
    async with FakeAnthropic() as upstream:
        async with opening(upstream, "silence-3") as (sdk, _):
            async with sdk.messages.stream(model="any", **ASK) as events:
                await anext(aiter(events.text_stream))
            await upstream.until(lambda: len(upstream.closed) == 1)
        async with opening(upstream, "hang") as (sdk, _):
            asking = asyncio.create_task(text_of(sdk))
            await upstream.until(lambda: bool(upstream.open))
        await upstream.until(lambda: len(upstream.closed) == 2)
        with pytest.raises(anthropic.APIError):
            await asking


async def test_nothing_is_asked_before_it_is_admitted(opening: Opening) -> None:
    async with (
        FakeAnthropic() as upstream,
        opening(upstream, "words-3", extra_body={"top_k": 3}) as (sdk, seen),
    ):
        seen.open.clear()
        asking = asyncio.create_task(text_of(sdk))
        await seen.came.wait()
        assert not upstream.requests
        seen.open.set()
        assert await asking == words(3)
        assert upstream.requests[0].body["top_k"] == 3
