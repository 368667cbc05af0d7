"""MCP servers that die, are away, or change."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.toolsets.mcp_bed import (
    Notes,
    at,
    free_port,
    invocation,
    noting,
    opened,
    over_stdio,
    serving,
)
from trunkline_shared.config.toolsets import Mcp
from trunkline_worker.toolsets.base import ToolError
from trunkline_worker.toolsets.mcp import McpToolset

HTTP = pytest.mark.parametrize("transport", ["streamable-http", "sse"])


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    with noting(tmp_path) as notes:
        yield notes


async def said(toolset: McpToolset, text: str) -> str:
    return await toolset.call("echo", {"text": text}, invocation())


async def in_time(attempt: Callable[[], Awaitable[str]]) -> str:
    """What `attempt` gives once the server is tried again, which takes a moment."""
    for _ in range(100):
        try:
            return await attempt()
        except ToolError:
            await asyncio.sleep(0.1)
    raise AssertionError("never reached again")


async def test_a_server_that_ends_fails_its_call_and_is_started_again_by_the_next() -> None:
    async with opened(over_stdio()) as toolset:
        with pytest.raises(ToolError, match="broke during the call"):
            await toolset.call("crash", {}, invocation())
        assert await said(toolset, "back") == "back"


async def test_a_server_that_died_between_calls_is_not_noticed_by_the_next() -> None:
    async with opened(over_stdio()) as toolset:
        pid = int(await toolset.call("process", {}, invocation()))
        os.killpg(os.getpgid(pid), signal.SIGKILL)
        assert await in_time(lambda: said(toolset, "back")) == "back"
        assert int(await toolset.call("process", {}, invocation())) != pid


@HTTP
async def test_a_server_that_was_restarted_is_found_again(transport: str, notes: Notes) -> None:
    port = free_port()
    with serving(transport, port, notes) as process:
        async with opened(at(transport, port)) as toolset:
            slow = asyncio.create_task(toolset.call("slow", {}, invocation()), name="slow")
            await notes.until("begun")
            process.signal(signal.SIGKILL)
            await asyncio.to_thread(process.wait)
            with pytest.raises(ToolError, match="broke during the call"):
                await slow
            with pytest.raises(ToolError, match=r"broke|cannot be reached"):
                await said(toolset, "nobody hears")
            assert "echo" in {tool.name for tool in await toolset.tools()}  # known from before
            with serving(transport, port, notes):
                assert await in_time(lambda: said(toolset, "back")) == "back"


@HTTP
async def test_a_server_that_was_away_at_the_start_is_tried_again(
    transport: str, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with opened(at(transport, port)) as toolset:
        with pytest.raises(ToolError, match="The MCP server fake cannot be reached now"):
            await toolset.tools()
        assert "mcp server not reached" in caplog.messages
        with pytest.raises(ToolError):
            await said(toolset, "nobody hears")
        with serving(transport, port, notes):

            async def named() -> str:
                return " ".join(tool.name for tool in await toolset.tools())

            assert "echo" in await in_time(named)


async def test_a_command_that_cannot_start_leaves_the_agent_runnable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "trunkline")
    async with opened(Mcp(command="no-such-server --fast")) as toolset:
        assert toolset.name == "no-such-server"
        with pytest.raises(ToolError, match="cannot be reached"):
            await toolset.tools()
    said = [vars(record).get("fields", {}).get("said") for record in caplog.records]
    assert "no-such-server: No such file or directory" in said


async def test_a_server_that_was_not_reached_is_left_alone_for_a_while() -> None:
    async with opened(Mcp(command="false")) as toolset:
        begun = asyncio.get_running_loop().time()
        for _ in range(50):
            with pytest.raises(ToolError):
                await toolset.tools()
        assert asyncio.get_running_loop().time() - begun < 2


async def test_tools_that_come_while_the_connection_lasts_are_seen() -> None:
    async with opened(over_stdio()) as toolset:
        assert "grown" not in {tool.name for tool in await toolset.tools()}
        await toolset.call("grow", {}, invocation())
        assert "grown" in {tool.name for tool in await toolset.tools()}


async def test_a_message_without_end_ends_the_connection_not_the_worker() -> None:
    async with opened(over_stdio()) as toolset:
        with pytest.raises(ToolError, match="broke during the call"):
            await toolset.call("big", {"characters": 9 << 20}, invocation())
        text = await toolset.call("big", {"characters": 2 << 20}, invocation())
        assert len(text) < 1.1 * (1 << 20)
        assert text.endswith("[the rest was cut off]")


async def test_an_answer_without_end_is_not_read_to_its_end(notes: Notes) -> None:
    port = free_port()
    with serving("json", port, notes):
        async with opened(at("streamable-http", port)) as toolset:
            with pytest.raises(ToolError, match="the answer is too long"):
                await toolset.call("big", {"characters": 9 << 20}, invocation())
            assert await said(toolset, "still there") == "still there"


async def test_only_the_tools_that_are_allowed_are_there_under_their_prefix() -> None:
    config = over_stdio(tools=("echo", "add", "fail"), disabled_tools=("fail",), prefix="my ")
    async with opened(config) as toolset:
        assert [tool.name for tool in await toolset.tools()] == ["my_echo", "my_add"]
        assert await toolset.call("my_echo", {"text": "hi"}, invocation()) == "hi"
        with pytest.raises(ToolError, match="has no tool fail"):
            await toolset.call("fail", {}, invocation())


async def test_the_operators_effect_counts_more_than_what_the_server_says() -> None:
    async with opened(over_stdio(effect="at_most_once")) as toolset:
        assert {tool.effect for tool in await toolset.tools()} == {"at_most_once"}
