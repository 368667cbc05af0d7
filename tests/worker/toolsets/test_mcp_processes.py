"""The processes of MCP servers: what they see, and that none is left."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.fakes.process import LoggedProcess
from tests.worker.toolsets.mcp_bed import ENVIRON, alive, invocation, noting, opened, over_stdio
from trunkline_worker.toolsets.mcp import McpToolset

WORKER = """
import asyncio, sys
from tests.worker.toolsets.mcp_bed import invocation, opened, over_stdio

async def main():
    async with opened(over_stdio()) as toolset:
        pids = [await toolset.call(name, {}, invocation()) for name in ("process", "child")]
        print(*pids, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


STUBBORN = """
import os, signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notes.sendto(str(os.getpid()).encode(), os.environ["MCP_NOTES"])
time.sleep(300)
"""


async def gone(pid: int) -> bool:
    for _ in range(100):
        if not alive(pid):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_server_sees_nothing_of_the_workers_environment_but_what_it_needs() -> None:
    async with opened(over_stdio()) as toolset:
        seen = (await toolset.call("environment", {}, invocation())).split()
    assert {"PATH", "HOME", "GIVEN"} <= set(seen)
    assert "OPENAI_API_KEY" not in seen
    assert set(seen) <= {"PATH", "HOME", "GIVEN", "PYTHONPATH", "LC_CTYPE"}


async def test_nothing_is_left_of_a_server_that_is_closed() -> None:
    async with opened(over_stdio()) as toolset:
        server, child = [
            int(await toolset.call(name, {}, invocation())) for name in ("process", "child")
        ]
        assert alive(server) and alive(child)
    assert await gone(server)
    assert await gone(child)


async def test_nothing_is_left_of_a_server_that_will_not_end(tmp_path: Path) -> None:
    with noting(tmp_path) as notes:
        config = over_stdio(notes).model_copy(update={"args": ("-c", STUBBORN)})
        toolset = McpToolset(config, ENVIRON)
        opening = asyncio.create_task(toolset.open(), name="open")
        pid = int(await asyncio.to_thread(notes.next))
        await toolset.aclose()
        await opening
    assert await gone(pid)


async def test_a_worker_that_is_killed_takes_its_servers_along(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = LoggedProcess([sys.executable, "-c", WORKER], tmp_path / "log", environ, piped=True)
    try:
        server, child = map(int, (await asyncio.to_thread(worker.first_line)).split())
        assert alive(server) and alive(child)
        worker.signal(signal.SIGKILL)
        assert await gone(server)
        assert await gone(child)
    finally:
        worker.collect(timeout_s=5)
