"""What fills a workspace is ended, and harms nobody else for long."""

import os
from pathlib import Path

import pytest

from tests.worker.toolsets.bench import Bench, bench
from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_worker.sandbox.guard import Guard
from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.walls import Command, Sandboxes
from trunkline_worker.sandbox.workspace import Workspace, Workspaces
from trunkline_worker.toolsets.execution import Commands

pytestmark = pytest.mark.timeout(120)

MIB = 1 << 20
WRITE = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero >f$i; done"
TOUCH = "i=0; while :; do i=$((i+1)); : >f$i; done"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("work", "tmp"):
        (tmp_path / name).mkdir()
    return Workspace(tmp_path / "work", max_bytes=8 * MIB)


async def watched(workspace: Workspace, script: str, spare_bytes: int = 0) -> tuple[Guard, str]:
    """A command without walls, and why it was ended."""
    guard = Guard(workspace, spare_bytes)
    await guard.begin()
    command = Command(["/bin/sh", "-c", script], {"PATH": "/usr/bin:/bin"}, str(workspace.path))
    process = await Process.start(command, cap=1000)
    try:
        await guard.watch(process)
    finally:
        await process.end()
    return guard, process.stopped or ""


async def test_too_many_files_end_a_command_too(workspace: Workspace) -> None:
    _, why = await watched(workspace, TOUCH)
    assert why.startswith("the workspace holds more than 1024 files and directories")


async def test_a_full_disk_ends_nobody_who_did_not_fill_it(workspace: Workspace) -> None:
    guard, why = await watched(workspace, "echo x >a; sleep 1", spare_bytes=1 << 60)
    assert (guard.why, why) == ("", "") and (workspace.path / "a").exists()


async def test_of_a_full_disk_is_given_back_what_was_written(workspace: Workspace) -> None:
    kept = workspace.path / "old/kept"
    kept.parent.mkdir()
    kept.write_text("from before")
    script = "head -c 100 /dev/zero >old/new; mkdir new; cd new; " + WRITE
    _, why = await watched(workspace, script, spare_bytes=1 << 60)
    assert why == "the workspace holds more than 8 MiB; what was written is removed"
    assert kept.read_text() == "from before"
    assert sorted(os.listdir(workspace.path)) == ["old"] and os.listdir(kept.parent) == ["kept"]


async def test_who_is_quicker_than_a_look_is_noticed(workspace: Workspace) -> None:
    guard, why = await watched(workspace, "head -c 30000000 /dev/zero >big", spare_bytes=1 << 60)
    assert "more than 8 MiB; what was written is removed" in (why or guard.why)
    assert os.listdir(workspace.path) == []


class Hidden(Workspace):
    async def used_bytes(self) -> int:
        raise OSError("some of it is hidden")


async def test_what_cannot_be_measured_is_ended_and_counts_as_full(workspace: Workspace) -> None:
    hidden = Hidden(workspace.path)
    _, why = await watched(hidden, "exec sleep 60")
    assert why == "how much the workspace holds is not known: some of it is hidden"
    guard = Guard(hidden)
    await guard.begin()
    assert guard.full


def commands_of(tmp_path: Path) -> Commands:
    return Commands(ExecutionTools(), Sandboxes(Workspaces(tmp_path / "probe")), "auto")


async def filled(commands: Bench) -> None:
    said = await commands.call("run_command", command="head -c 6000000 /dev/zero >f; sleep 60")
    assert "[ended: the workspace holds more than 4 MiB]" in said


async def test_until_it_fits_again_nothing_is_written(tmp_path: Path) -> None:
    async with bench(commands_of(tmp_path), max_bytes=4 * MIB) as commands:
        # One file may not be longer than the measure: it is several.
        await commands.call("run_command", command="head -c 3000000 /dev/zero >g")
        await filled(commands)
        said = await commands.call("run_command", command="echo x >h; cat h; ls; true")
        assert "full: files can be removed, not written" in said
        assert (commands.workspace.path / "h").stat().st_size == 0
        assert "full" in await commands.refused("start_command", command="true")
        await commands.call("run_command", command="rm f g h")
        assert await commands.call("run_command", command="echo x >h; cat h") == (
            "x\n[exit code 0]"
        )
