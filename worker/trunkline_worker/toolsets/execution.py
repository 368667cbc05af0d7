"""Shell commands in the run's workspace, behind the walls of its sandbox."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_shared.run import RunId
from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.walls import Command, Kind, Limits, Sandbox, Sandboxes
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.arguments import number, parameters, text
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec

_OUTPUT_BYTES: Final = 48 << 10
_LONGEST_WAIT_S: Final = 30.0
_BACKGROUND: Final = 8  # at once, per run
_LOOK_S: Final = 1.0  # how often the disk is looked at, or a tenth of the time
_SPARE_BYTES: Final = 256 << 20  # of the disk, for everybody else

_COMMAND: Final = {"type": "string", "description": "For /bin/sh, in the workspace."}
_ID: Final = {"type": "string", "description": "What start_command returned."}


class Commands:
    """Each command is a process tree of its own. All of a run's have ended when the run has."""

    name = "execution"

    def __init__(
        self, config: ExecutionTools, sandboxes: Sandboxes, kind: Literal["auto"] | Kind
    ) -> None:
        self._config = config
        self._sandboxes = sandboxes
        self._kind: Literal["auto"] | Kind = kind
        self._sandbox: Sandbox | None = None
        self._begun: dict[RunId, dict[str, Process]] = {}

    async def open(self) -> None:
        """Raises NoSandbox."""
        self._sandbox = await self._sandboxes.find(self._kind)

    async def tools(self) -> Sequence[ToolSpec]:
        effect = self._config.effect
        most = {
            "type": "number",
            "description": f"At most {self._config.timeout_s:g}, the default.",
        }
        wait = {
            "type": "number",
            "description": f"For it to end; at most {_LONGEST_WAIT_S:g}.",
        }
        return (
            ToolSpec(
                "run_command",
                "Run a shell command and return what it prints and its exit code. What it leaves "
                "running in the background ends with it.",
                parameters(("command",), command=_COMMAND, timeout_s=most),
                effect,
            ),
            ToolSpec(
                "start_command",
                "Start a shell command that goes on in the background, such as a server. Returns "
                "its id.",
                parameters(("command",), command=_COMMAND),
                effect,
            ),
            ToolSpec(
                "check_command",
                "Return what a started command has printed since the last check, and whether it "
                "still runs.",
                parameters(("id",), id=_ID, wait_s=wait),
                "pure",
            ),
            ToolSpec(
                "stop_command",
                "Stop a started command and return what it printed last.",
                parameters(("id",), id=_ID),
                "idempotent",
            ),
        )

    async def call(self, name: str, arguments: Mapping[str, Any], call: Invocation) -> str:
        match name:
            case "run_command":
                most = self._config.timeout_s
                timeout_s = min(max(number(arguments, "timeout_s", most), 0.1), most)
                return await self._run(text(arguments, "command"), timeout_s, call)
            case "start_command":
                return await self._start(text(arguments, "command"), call)
            case "check_command":
                process = self._found(arguments, call)
                wait_s = min(number(arguments, "wait_s", 0), _LONGEST_WAIT_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await process.wait()
                return _report(process, process.output.take())
            case "stop_command":
                process = self._found(arguments, call)
                process.stop("you stopped it")
                await process.end()
                return _report(process, process.output.take())
        raise ToolError(f"There is no tool {name}.")

    async def aclose(self) -> None:
        """What commands a run began ends with its workspace."""

    async def _run(self, command: str, timeout_s: float, call: Invocation) -> str:
        process = await self._begin(command, call.workspace, call.say)
        guard = asyncio.create_task(_guard(process, call.workspace), name="guard")
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            process.stop(f"it took longer than {timeout_s:g} s")
        finally:
            guard.cancel()
            await process.end()
        return _report(process, process.output.take())

    async def _start(self, command: str, call: Invocation) -> str:
        mine = self._begun.get(call.request.run_id)
        if mine is None:
            mine = self._begun[call.request.run_id] = {}
            call.workspace.ending.push_async_callback(self._end_all, call.request.run_id)
        if sum(process.exit_code is None for process in mine.values()) >= _BACKGROUND:
            raise ToolError(f"{_BACKGROUND} commands run already: stop one first.")
        process = await self._begin(command, call.workspace, lambda _: None)
        key = f"command-{len(mine) + 1}"
        mine[key] = process
        guard = asyncio.create_task(_guard(process, call.workspace), name=f"guard:{key}")
        call.workspace.ending.callback(guard.cancel)
        return key

    async def _begin(
        self, command: str, workspace: Workspace, say: Callable[[str], None]
    ) -> Process:
        try:
            return await Process.start(
                self._wrapped(command, workspace), cap=_OUTPUT_BYTES, say=say
            )
        except (OSError, ValueError) as error:  # ValueError: a zero in the text
            raise ToolError(f"The command cannot be started: {error}") from error

    def _wrapped(self, command: str, workspace: Workspace) -> Command:
        assert self._sandbox is not None
        return self._sandbox.wrap(
            ["/bin/sh", "-c", command],
            workspace,
            network=self._config.network,
            readable=[Path(path) for path in self._config.readable],
            env=self._config.env,
            limits=Limits(
                processes=self._config.max_processes,
                memory_bytes=self._config.max_memory_mb << 20,
                file_bytes=workspace.max_bytes,
            ),
        )

    def _found(self, arguments: Mapping[str, Any], call: Invocation) -> Process:
        mine, key = self._begun.get(call.request.run_id, {}), text(arguments, "id")
        if key not in mine:
            known = ", ".join(mine) or "none was started, or they ended with their worker"
            raise ToolError(f"There is no command {key} ({known}).")
        return mine[key]

    async def _end_all(self, run_id: RunId) -> None:
        for process in self._begun.pop(run_id, {}).values():
            await process.end()


async def _guard(process: Process, workspace: Workspace) -> None:
    """Stops a command that fills the disk, or the workspace above its measure."""
    try:
        await _watch(process, workspace)
    except OSError as error:
        process.stop(f"how much the workspace holds is not known: {error.strerror or error}")


async def _watch(process: Process, workspace: Workspace) -> None:
    before: int | None = None
    clock, took = asyncio.get_running_loop().time, 0.0
    while process.exit_code is None:
        await asyncio.sleep(max(_LOOK_S, 10 * took))
        disk = os.statvfs(workspace.path)
        if disk.f_bavail * disk.f_frsize < _SPARE_BYTES:
            process.stop("the disk is nearly full")
        began = clock()
        used = await workspace.used_bytes()
        took = clock() - began
        before = used if before is None else before
        if used > workspace.max_bytes and used >= before:
            process.stop(f"the workspace holds more than {workspace.max_bytes >> 20} MiB")


def _report(process: Process, output: str) -> str:
    if process.stopped is not None:
        end = f"[ended: {process.stopped}]"
    elif process.exit_code is None:
        end = "[it still runs]"
    else:
        end = f"[exit code {process.exit_code}]"
    return f"{output.rstrip()}\n{end}" if output.strip() else end
