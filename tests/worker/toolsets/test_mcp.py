"""What every MCP server is, whichever way it speaks."""

import asyncio
import json
import time
from collections.abc import Iterator

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

pytestmark = pytest.mark.filterwarnings("default::mcp.shared.exceptions.MCPDeprecationWarning")


TRANSPORTS = ("stdio", "streamable-http", "sse")
Place = tuple[Mcp, Notes]


@pytest.fixture(scope="module", params=TRANSPORTS)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """How to reach a server, and what it says of itself."""
    with noting(tmp_path_factory.mktemp("mcp")) as notes:
        if request.param == "stdio":
            yield over_stdio(notes), notes
            return
        port = free_port()
        with serving(request.param, port, notes):
            yield at(request.param, port), notes


async def test_a_server_serves_the_whole_of_what_a_run_needs(place: Place) -> None:
    config, _ = place
    async with opened(config) as toolset:
        tools = {tool.name: tool for tool in await toolset.tools()}
        assert tools["echo"].description == "Says it again."
        assert tools["echo"].parameters["properties"]["text"]["type"] == "string"
        assert [tools[name].effect for name in ("echo", "add", "slow")] == [
            *("pure", "idempotent", "at_most_once")
        ]
        assert {"odd_name_", "odd_name__2"} <= set(tools)
        call = invocation()
        assert await toolset.call("echo", {"text": "a\nb ü"}, call) == "a\nb ü"
        assert "GIVEN" not in await toolset.call("odd_name_", {"text": "odd"}, call)
        assert json.loads(await toolset.call("structured", {}, call)) == {"answer": 42}
        assert await toolset.call("media", {}, call) == (
            "see\n[image image/png, 3 bytes]\n[resource plan: file:///plan.md]"
        )
        with pytest.raises(ToolError, match="no such customer"):
            await toolset.call("fail", {}, call)
        with pytest.raises(ToolError, match="has no tool nothing"):
            await toolset.call("nothing", {}, call)
        with pytest.raises(ToolError, match="a"):
            await toolset.call("add", {"a": "not a number"}, call)
        sums = [toolset.call("add", {"a": n, "b": 1}, call) for n in range(20)]
        assert await asyncio.gather(*sums) == [str(n + 1) for n in range(20)]


async def test_cancelling_a_call_reaches_the_server_within_a_second(
    place: Place,
) -> None:
    config, notes = place
    async with opened(config) as toolset:
        call = asyncio.create_task(toolset.call("slow", {}, invocation()), name="call")
        await notes.until("begun")
        begun = time.monotonic()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.monotonic() - begun < 1
        await notes.until("cancelled")
        assert await toolset.call("echo", {"text": "still there"}, invocation()) == "still there"


async def test_a_call_that_takes_too_long_ends_and_the_server_is_told(
    place: Place,
) -> None:
    config, notes = place
    async with opened(config.model_copy(update={"timeout_s": 0.5})) as toolset:
        with pytest.raises(ToolError, match=r"No answer in 0\.5 s"):
            await toolset.call("slow", {}, invocation())
        await notes.until("cancelled")
