"""The tools of agents in the worker's own container, which may make no namespaces."""

import pytest

from tests.compose.lab import Lab

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

# Run in the container, with what is installed there.
SCRIPT = """
import asyncio, os
from pathlib import Path
from trunkline_shared.config.toolsets import ExecutionTools, FileAccess
from trunkline_shared.run import RunRequest, new_run_id
from trunkline_worker.backends.base import RunContext
from trunkline_worker.sandbox.walls import Sandboxes
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.base import Invocation
from trunkline_worker.toolsets.execution import Commands
from trunkline_worker.toolsets.file_access import Files

async def main():
    workspaces = Workspaces(Path(os.environ["TRUNKLINE_WORKSPACES"]))
    sandboxes = Sandboxes(workspaces)
    print((await sandboxes.find("auto")).kind)
    commands, files = Commands(ExecutionTools(), sandboxes, "auto"), Files(FileAccess())
    await commands.open()
    request = RunRequest(new_run_id(), "agent", conversation="compose")
    async with workspaces.open(request) as workspace:
        call = Invocation("c", request, RunContext(None, None), workspace, lambda text: None)
        async def sh(command):
            print(await commands.call("run_command", {"command": command}, call))
        await sh("echo made >file; chmod 640 file; ls -l file | cut -c1-10")
        print(await files.call("read_file", {"path": "file"}, call))
        await sh("cat /etc/trunkline/agents.yml /proc/1/environ")
        await sh("ls /opt /var/lib/trunkline/workspaces")
        await sh("wget -q -T 3 -O - http://redis:6379 || nc -w 3 redis 6379 </dev/null")
        await sh("sh -c 'sleep 7654 &' ; kill -9 -1")
        print("alive")

asyncio.run(main())
"""


def test_commands_run_behind_landlock_in_the_workers_container(lab: Lab) -> None:
    lab.up(worker=1, api=1)
    said = lab.compose("exec", "-T", "worker", "python", "-c", SCRIPT)
    assert said.splitlines()[0] == "landlock"
    assert "-rw-r-----\n[exit code 0]\nmade\n" in said
    assert "agents:" not in said
    assert "TRUNKLINE_" not in said
    assert said.count("denied") >= 4
    assert said.endswith("alive\n")
    (worker,) = lab.containers("worker")
    assert "sleep 7654" not in lab.docker("top", worker)
