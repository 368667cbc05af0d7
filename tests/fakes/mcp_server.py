"""An MCP server, and a process of it: `python -m tests.fakes.mcp_server TRANSPORT [PORT]`.

What happens to it is sent to the datagram socket that MCP_NOTES names, a word each.
"""

import asyncio
import os
import socket
import subprocess
import sys
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ImageContent, ResourceLink, TextContent, ToolAnnotations

READ_ONLY = ToolAnnotations(read_only_hint=True)
IDEMPOTENT = ToolAnnotations(idempotent_hint=True)


def note(word: str) -> None:
    if path := os.environ.get("MCP_NOTES"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notes:
            notes.sendto(word.encode(), path)


def echo(text: str) -> str:
    """Says it again."""
    return text


def add(a: int, b: int) -> int:
    return a + b


async def slow(seconds: float = 60) -> str:
    note("begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return "slept"


def fail() -> str:
    raise ToolError("no such customer")


def environment() -> str:
    return "\n".join(sorted(os.environ))


def big(characters: int) -> str:
    return "x" * characters


def media() -> list[Any]:
    return [
        TextContent(type="text", text="see"),
        ImageContent(type="image", data="QUJD", mime_type="image/png"),
        ResourceLink(type="resource_link", name="plan", uri="file:///plan.md"),
    ]


def structured() -> dict[str, int]:
    return {"answer": 42}


def crash() -> str:
    os._exit(3)


def process() -> str:
    """The server's own id."""
    return str(os.getpid())


def child() -> str:
    """Starts a process that ends by itself only much later; its id."""
    return str(subprocess.Popen(["sleep", "300"]).pid)


def make_server() -> MCPServer:
    server = MCPServer("fake")
    server.add_tool(echo, annotations=READ_ONLY)
    server.add_tool(add, annotations=IDEMPOTENT, structured_output=False)
    for plain in (slow, fail, environment, big, media, crash, child, process):
        server.add_tool(plain, structured_output=False)
    server.add_tool(structured)
    server.add_tool(echo, name="odd name!")
    server.add_tool(environment, name="odd name?")

    @server.tool(structured_output=False)
    def grow() -> str:
        server.add_tool(echo, name="grown")
        return "grown"

    return server


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        note("listening")


def main(transport: str, port: str = "0") -> None:
    server = make_server()
    if transport == "stdio":
        note("started")
        server.run("stdio")
    else:
        whole = transport == "json"  # each answer at once, not as an event
        app = (
            server.sse_app()
            if transport == "sse"
            else server.streamable_http_app(json_response=whole)
        )
        _Server(uvicorn.Config(app, port=int(port))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
