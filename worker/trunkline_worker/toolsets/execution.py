"""Shell commands in the run's workspace, behind the walls of its sandbox."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from trunkline_shared.config.toolsets import ExecutionTools
from trunkline_shared.owned import end_owned
from trunkline_shared.run import RunId
from trunkline_worker.sandbox.guard import Guard
from trunkline_worker.sandbox.process import Process
from trunkline_worker.sandbox.walls import Command, Kind, Limits, Sandbox, Sandboxes
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.arguments import number, parameters, text
from trunkline_worker.toolsets.base import Invocation, ToolError, ToolSpec

_OUTPUT_BYTES: Final = 28 << 10  # less than what a model reads of one call
_LONGEST_WAIT_S: Final = 30.0
_BACKGROUND: Final = 8  # at once, per run
_FULL: Final = "The workspace is full: files can be removed, not written"

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
                in_order=True,
            ),
            ToolSpec(
                "start_command",
                "Start a shell command that goes on in the background, such as a server. Returns "
                "its id.",
                parameters(("command",), command=_COMMAND),
                effect,
                in_order=True,
            ),
            ToolSpec(
                "check_command",
                "Return what a started command has printed since the last check, and whether it "
                "still runs.",
                parameters(("id",), id=_ID, wait_s=wait),
                "pure",
                in_order=True,
            ),
            ToolSpec(
                "stop_command",
                "Stop a started command and return what it printed last.",
                parameters(("id",), id=_ID),
                "idempotent",
                in_order=True,
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
                last = process.exit_code is not None
                return _report(process, process.output.take(last=last))
            case "stop_command":
                process = self._found(arguments, call)
                process.stop("you stopped it")
                await process.end()
                return _report(process, process.output.take())
        raise ToolError(f"There is no tool {name}.")

    async def aclose(self) -> None:
        """What commands a run began ends with its workspace."""

    async def _run(self, command: str, timeout_s: float, call: Invocation) -> str:
        guard = Guard(call.workspace)
        await guard.begin()
        process = await self._begin(command, call.workspace, call.say, full=guard.full)
        watch = asyncio.create_task(guard.watch(process), name="guard")
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            process.stop(f"it took longer than {timeout_s:g} s")
        finally:
            watch.cancel()
            await process.end()
            await guard.settle(process)
            await end_owned(watch)
        said = _report(process, process.output.take())
        notes = [_FULL] if guard.full else []
        if guard.why and process.stopped != guard.why:
            notes.append(guard.why)
        return "\n".join([said, *(f"[{note}]" for note in notes)])

    async def _start(self, command: str, call: Invocation) -> str:
        mine = self._begun.get(call.request.run_id)
        if mine is None:
            mine = self._begun[call.request.run_id] = {}
            call.workspace.ending.push_async_callback(self._end_all, call.request.run_id)
        if sum(process.exit_code is None for process in mine.values()) >= _BACKGROUND:
            raise ToolError(f"{_BACKGROUND} commands run already: stop one first.")
        guard = Guard(call.workspace)
        await guard.begin()
        if guard.full:
            raise ToolError(f"{_FULL}.")
        process = await self._begin(command, call.workspace, lambda _: None)
        key = f"command-{len(mine) + 1}"
        mine[key] = process
        watch = asyncio.create_task(guard.watch(process), name=f"guard:{key}")
        call.workspace.ending.push_async_callback(end_owned, watch)
        return key

    async def _begin(
        self,
        command: str,
        workspace: Workspace,
        say: Callable[[str], None],
        *,
        full: bool = False,
    ) -> Process:
        try:
            return await Process.start(
                self._wrapped(command, workspace, full), cap=_OUTPUT_BYTES, say=say
            )
        except (OSError, ValueError) as error:  # ValueError: a zero in the text
            raise ToolError(f"The command cannot be started: {error}") from error

    def _wrapped(self, command: str, workspace: Workspace, full: bool) -> Command:
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
                file_bytes=0 if full else workspace.max_bytes,
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


def _report(process: Process, output: str) -> str:
    if process.stopped is not None:
        end = f"[ended: {process.stopped}]"
    elif process.exit_code is None:
        end = "[it still runs]"
    else:
        end = f"[exit code {process.exit_code}]"
    return f"{output.rstrip()}\n{end}" if output.strip() else end
