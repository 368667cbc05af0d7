"""MCP servers for tests, and the calls that runs would make."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.process import LoggedProcess
from tests.worker.backends.driving import no_gate, request
from trunkline_shared.config.toolsets import Mcp
from trunkline_worker.backends.base import RunContext
from trunkline_worker.sandbox.workspace import Workspace
from trunkline_worker.toolsets.base import Invocation
from trunkline_worker.toolsets.mcp import McpToolset

SERVER = ("-m", "tests.fakes.mcp_server")
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "OPENAI_API_KEY": "sk-not-for-servers"}


def invocation(**fields: Any) -> Invocation:
    values: dict[str, Any] = {
        "call_id": "call_1",
        "request": request(),
        "context": RunContext(no_gate, lambda _: None),
        "workspace": Workspace(Path("/nowhere")),
        "say": lambda _: None,
    }
    return Invocation(**values | fields)


class Notes:
    """What a server says of itself, a word each, in the order that it happened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(60)

    def next(self) -> str:
        return self._socket.recv(100).decode()

    def wait(self, word: str) -> None:
        while self.next() != word:
            """Older news."""

    async def until(self, word: str) -> None:
        await asyncio.to_thread(self.wait, word)

    def close(self) -> None:
        self._socket.close()


def over_stdio(notes: Notes | None = None, **fields: Any) -> Mcp:
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "GIVEN": "yes"}
    if notes is not None:
        env["MCP_NOTES"] = str(notes.path)
    return Mcp(command=sys.executable, args=(*SERVER, "stdio"), env=env, name="fake", **fields)


@asynccontextmanager
async def opened(config: Mcp) -> AsyncIterator[McpToolset]:
    toolset = McpToolset(config, ENVIRON, known_for_s=0)
    try:
        await toolset.open()
        yield toolset
    finally:
        await toolset.aclose()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def noting(folder: Path) -> Iterator[Notes]:
    notes = Notes(folder)
    try:
        yield notes
    finally:
        notes.close()


@contextmanager
def serving(transport: str, port: int, notes: Notes) -> Iterator[LoggedProcess]:
    """The server at a port, answering; killed in the end."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environ["MCP_NOTES"] = str(notes.path)
    command = [sys.executable, *SERVER, transport, str(port)]
    process = LoggedProcess(command, notes.path.with_suffix(".log"), environ)
    try:
        notes.wait("listening")
        yield process
    finally:
        process.collect(timeout_s=0)


def at(transport: str, port: int, **fields: Any) -> Mcp:
    path = "/sse" if transport == "sse" else "/mcp"
    values = {"url": f"http://127.0.0.1:{port}{path}", "transport": transport, "name": "fake"}
    return Mcp(**values | fields)


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
