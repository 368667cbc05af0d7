"""The floor: one process that reads a POST, asks the upstream and forwards what comes, as it comes.

Raw ASGI on uvicorn, uvloop and httptools with an aiohttp client; no keys, no queue, no parsing.
Nothing that offers the same surface from Python can cost less, so all else is a multiple of it.
Run as a process (`python -m tests.bench.relay UPSTREAM_PORT`) it prints its port.
"""

import socket
import sys
from typing import Any

import aiohttp
import uvicorn
import uvloop


class Relay:
    """The ASGI application."""

    def __init__(self, session: aiohttp.ClientSession, upstream_port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{upstream_port}/v1/chat/completions"

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = await _read(receive)
        async with self._session.post(self._url, data=body) as reply:
            headers = [(b"content-type", reply.headers["content-type"].encode())]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            async for data in reply.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _read(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _serve(upstream_port: int, listener: socket.socket) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        config = uvicorn.Config(
            Relay(session, upstream_port),
            loop="uvloop",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_level="warning",
            backlog=4096,
        )
        await uvicorn.Server(config).serve(sockets=[listener])


def _main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        uvloop.run(_serve(int(sys.argv[1]), listener))


if __name__ == "__main__":
    _main()
