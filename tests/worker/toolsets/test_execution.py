"""Shell commands as a model runs them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.worker.toolsets.bench import Bench, bench
from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_worker.agent_lane.calls import MAX_OUTPUT
from trunkline_worker.sandbox.walls import NoSandbox, Sandboxes
from trunkline_worker.sandbox.workspace import Workspaces
from trunkline_worker.toolsets.execution import Commands

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(commands_of(tmp_path)) as made:
        yield made


def commands_of(tmp_path: Path, **config: Any) -> Commands:
    return Commands(ExecutionTools(**config), Sandboxes(Workspaces(tmp_path / "probe")), "auto")


def running(mark: str) -> int:
    return sum(mark.encode() in cmdline(pid) for pid in os.listdir("/proc") if pid.isdigit())


def cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_command_works_in_the_workspace(commands: Bench) -> None:
    said = await commands.call("run_command", command="echo hello > a; pwd; cat a; false")
    assert said == f"{commands.workspace.path}\nhello\n[exit code 1]"
    assert (commands.workspace.path / "a").read_text() == "hello\n"
    assert await commands.call("run_command", command="true") == "[exit code 0]"


async def test_output_is_heard_as_it_comes(commands: Bench) -> None:
    task = asyncio.create_task(
        commands.call("run_command", command="echo first; until [ -e go ]; do :; done; echo last")
    )
    await until(lambda: "".join(commands.heard) == "first\n")
    assert not task.done()
    (commands.workspace.path / "go").touch()
    assert await task == "first\nlast\n[exit code 0]"
    assert "".join(commands.heard) == "first\nlast\n"


async def test_a_command_sees_what_it_is_given_and_nothing_of_the_worker(tmp_path: Path) -> None:
    os.environ["TRUNKLINE_TEST_KEY"] = "sk-secret"
    try:
        async with bench(commands_of(tmp_path, env={"MINE": "yes"})) as commands:
            said = await commands.call("run_command", command="env")
    finally:
        del os.environ["TRUNKLINE_TEST_KEY"]
    names = {line.partition("=")[0] for line in said.splitlines()[:-1]}
    assert names == {
        *("PATH", "HOME", "LANG", "TERM", "TMPDIR", "PWD", "GIT_CONFIG_NOSYSTEM", "MINE")
    }


async def test_a_command_that_takes_too_long_is_ended_with_what_it_said(commands: Bench) -> None:
    began = time.monotonic()
    said = await commands.call("run_command", command="echo so far; sleep 1000", timeout_s=0.5)
    assert said == "so far\n[ended: it took longer than 0.5 s]"
    assert time.monotonic() - began < 5


async def test_cancelling_ends_a_command_and_its_children_within_a_second(
    commands: Bench,
) -> None:
    task = asyncio.create_task(
        commands.call("run_command", command="setsid sleep 12345.6 & echo up; sleep 12345.6")
    )
    await until(lambda: commands.heard)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1
    await until(lambda: not running("12345.6"))


async def test_a_command_in_the_background_is_checked_and_stopped(commands: Bench) -> None:
    script = "echo up; until [ -e go ]; do :; done; echo down; sleep 1000"
    key = await commands.call("start_command", command=script)
    said = ""
    async with asyncio.timeout(20):
        while "up" not in said:
            said = await commands.call("check_command", id=key)
    assert said == "up\n[it still runs]"
    (commands.workspace.path / "go").touch()
    async with asyncio.timeout(20):
        while "down" not in said:
            said = await commands.call("check_command", id=key)
    assert await commands.call("stop_command", id=key) == "[ended: you stopped it]"
    assert await commands.call("check_command", id=key) == "[ended: you stopped it]"
    assert "command-1" in await commands.refused("check_command", id="command-9")


async def test_a_check_may_wait_for_the_end(commands: Bench) -> None:
    key = await commands.call("start_command", command="echo done; exit 3")
    assert await commands.call("check_command", id=key, wait_s=20) == "done\n[exit code 3]"


async def test_few_run_in_the_background_at_once(commands: Bench) -> None:
    for _ in range(8):
        await commands.call("start_command", command="sleep 1000")
    assert "stop one" in await commands.refused("start_command", command="sleep 1000")
    await commands.call("stop_command", id="command-3")
    assert await commands.call("start_command", command="sleep 1000") == "command-9"


async def test_all_of_a_run_has_ended_when_the_run_has(tmp_path: Path) -> None:
    async with bench(commands_of(tmp_path)) as commands:
        await commands.call("start_command", command="setsid sleep 54321.6 & sleep 54321.6")
        await until(lambda: running("54321.6") > 2)
    await until(lambda: not running("54321.6"))


async def test_a_command_that_fills_the_workspace_is_ended(tmp_path: Path) -> None:
    async with bench(commands_of(tmp_path), max_bytes=4 << 20) as commands:
        script = "i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero > f$i; done"
        said = await commands.call("run_command", command=script)
    assert "[ended: the workspace holds more than 4 MiB" in said


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
