"""The real command line with tools of MCP servers."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.anthropic import FakeAnthropic
from tests.worker.claude_code.bed import calls, tell, worker
from tests.worker.toolsets.mcp_bed import at, free_port, noting, serving
from trunkline_shared.config.toolsets import Mcp
from trunkline_shared.events import ActivityEnd, ActivityStart

pytestmark = pytest.mark.claude
pytest.importorskip("claude_agent_sdk")

# Behind the walls there are the system's programs and nothing of ours: a server in one line.
SERVER = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    method, asked_for = asked["method"], asked.get("params", {})
    if method == "initialize":
        version = asked_for["protocolVersion"]
        about = {"name": "one", "version": "1"}
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
    elif method == "tools/list":
        names = ["echo", "fail"]
        result = {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in names]}
    elif method == "tools/call":
        fails, given = asked_for["name"] == "fail", asked_for["arguments"]
        text = "it is broken" if fails else given["text"] + " " + os.environ["GIVEN"]
        result = {"content": [{"type": "text", "text": text}], "isError": fails}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def of_one(**fields: Any) -> dict[str, Any]:
    python = "/usr/bin/python3"
    server = Mcp(command=python, args=("-c", SERVER), env={"GIVEN": "yes"}, name="one", **fields)
    return server.model_dump(mode="json")


async def test_a_server_that_is_a_command(upstream: FakeAnthropic, root: Path) -> None:
    script = ("mcp__one__echo", {"text": "said"}), ("mcp__one__fail", {})
    async with worker(upstream, "scripted", root, toolsets=[of_one()]) as backend:
        told = await tell(backend, calls(*script))
    told.check_activities()
    begun = [(event.name, event.toolset) for event in told.of(ActivityStart)]
    assert begun == [("echo", "one"), ("fail", "one")]
    assert told.outputs[0] == "said yes"
    assert [end.error for end in told.of(ActivityEnd)] == [None, "it is broken"]


async def test_an_operator_is_told_of_a_server_that_does_not_start(
    upstream: FakeAnthropic, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Mcp(command="/usr/bin/false", name="one").model_dump(mode="json")
    async with worker(upstream, "scripted", root, toolsets=[server]) as backend:
        told = await tell(backend, calls(("mcp__one__echo", {"text": "said"})))
    assert "No such tool" in told.of(ActivityEnd)[0].error
    assert "MCP server one is failed" in caplog.text


async def test_a_server_at_a_url(upstream: FakeAnthropic, root: Path, tmp_path: Path) -> None:
    port = free_port()
    with noting(tmp_path) as notes, serving("streamable-http", port, notes):
        server = at("streamable-http", port).model_dump(mode="json")
        async with worker(upstream, "scripted", root, toolsets=[server]) as backend:
            told = await tell(backend, calls(("mcp__fake__echo", {"text": "hello"})))
    told.check_activities()
    assert "hello" in told.outputs[0]
    assert [(each.name, each.toolset) for each in told.of(ActivityStart)] == [("echo", "fake")]
