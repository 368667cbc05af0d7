"""Shell commands as a model runs them."""

from pathlib import Path

import pytest

from tests.worker.toolsets.bench import Bench, bench
from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_worker.agent_lane.calls import MAX_OUTPUT
from trunkline_worker.sandbox.walls import NoSandbox, Sandboxes
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.execution import Commands

pytestmark = pytest.mark.timeout(120)


async def test_output_beyond_measure_is_left_out_in_the_middle(commands: Bench) -> None:
    said = await commands.call("run_command", command="echo begin; seq 100000; echo end")
    assert said.startswith("begin\n1\n2\n")
    assert "bytes are left out here" in said
    assert said.endswith("100000\nend\n[exit code 0]")
    assert len(said) < MAX_OUTPUT  # else its end would be cut off
    heard = "".join(commands.heard)
    assert said.startswith(heard) and len(heard) == 14 << 10


async def test_what_no_command_can_be_is_told_to_the_model(commands: Bench) -> None:
    assert await commands.refused("run_command", command=7) == "command must be a text."
    assert "cannot be started" in await commands.refused("run_command", command="a\0b")


async def test_without_walls_commands_run_too_if_that_is_asked_for(tmp_path: Path) -> None:
    toolset = Commands(ExecutionTools(), Sandboxes(Workspaces(tmp_path / "probe")), "none")
    async with bench(toolset) as commands:
        said = await commands.call("run_command", command="echo hi; (setsid sleep 6543.2 &)")
        assert said == "hi\n[exit code 0]"
        assert not running("6543.2")


async def test_an_agent_without_its_walls_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    toolset = Commands(ExecutionTools(), Sandboxes(Workspaces(tmp_path / "file")), "auto")
    with pytest.raises(NoSandbox, match=r"No sandbox .* \(bwrap: no workspace in .*landlock: "):
        await toolset.open()
