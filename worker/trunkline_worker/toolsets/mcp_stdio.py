"""An MCP server that is a command: its process, and the messages on its standard streams.

Imported where there is one.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from trunkline_shared.logs import log_event
from trunkline_worker.toolsets import tether

logger = logging.getLogger("trunkline.mcp")

MAX_MESSAGE: Final = 8 << 20
"""Bytes. A server that says more at once is dropped."""
_GRACE_S: Final = 1.0  # after the end of its input, and again after SIGTERM
_LINE: Final = 2000  # of what a server says for people


@asynccontextmanager
async def stdio_transport(
    name: str, command: Sequence[str], env: Mapping[str, str], cwd: str | None
) -> AsyncIterator[TransportStreams]:
    """Starts the command; in the end nothing of its process group is left.

    It sees `env` alone. What it writes to standard error goes to the log.
    """
    tethered = [sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid()), *command]
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=MAX_MESSAGE, loop=loop),
        *tethered,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    process = Process(transport, protocol, loop)
    heard, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, said = anyio.create_memory_object_stream[SessionMessage](0)
    spoke = asyncio.Event()
    tasks = [
        asyncio.create_task(_hear(process, heard, spoke), name=f"mcp-hear:{name}"),
        asyncio.create_task(_say(process, said), name=f"mcp-say:{name}"),
        asyncio.create_task(_log(process, name, spoke), name=f"mcp-log:{name}"),
    ]
    try:
        yield read, write
    finally:
        ending = asyncio.create_task(_end(process), name=f"mcp-end:{name}")
        try:
            await asyncio.shield(ending)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(ending, *tasks, return_exceptions=True)
            transport.close()
            for stream in (heard, read, write, said):
                stream.close()


async def _hear(
    process: Process,
    heard: MemoryObjectSendStream[SessionMessage | Exception],
    spoke: asyncio.Event,
) -> None:
    """Passes messages on until the server ends or says too much."""
    assert process.stdout is not None
    with heard, suppress(ValueError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while line := await process.stdout.readline():  # ValueError: too long
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:  # some print what is no message, which the protocol forbids
                log_event(logger, "mcp server said no message", bytes=len(line))
                continue
            spoke.set()
            await heard.send(SessionMessage(message))


async def _say(process: Process, said: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin is not None
    with said, suppress(ConnectionError):
        async for each in said:
            json = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(json.encode() + b"\n")
            await process.stdin.drain()


async def _log(process: Process, name: str, spoke: asyncio.Event) -> None:
    """What the server says while it starts tells why it does not; later it may quote its users."""
    assert process.stderr is not None
    while piece := await process.stderr.read(_LINE):
        level = logging.DEBUG if spoke.is_set() else logging.INFO
        for line in piece.decode(errors="replace").splitlines():
            log_event(logger, "mcp server", level=level, server=name, said=line)


async def _end(process: Process) -> None:
    """As the protocol has it: its input ends, it is asked to end, it is killed."""
    assert process.stdin is not None
    process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    with suppress(TimeoutError):  # one that left the group may still hold our ends open
        await asyncio.wait_for(process.wait(), _GRACE_S)
