"""The relay that one writes in an afternoon: FastAPI, one shared httpx client, StreamingResponse.

Run as a process (`python -m tests.bench.peers.naive UPSTREAM_PORT`) it prints its port.
"""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask


def create_app(base_url: str) -> FastAPI:
    """Forwards chat completions to `base_url`, streamed as they come."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=base_url, timeout=None, limits=limits) as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> StreamingResponse:
        client: httpx.AsyncClient = request.app.state.client
        headers = {"content-type": "application/json"}
        asked = client.build_request(
            "POST", "/v1/chat/completions", content=await request.body(), headers=headers
        )
        reply = await client.send(asked, stream=True)
        return StreamingResponse(
            reply.aiter_bytes(),
            status_code=reply.status_code,
            media_type=reply.headers["content-type"],
            background=BackgroundTask(reply.aclose),
        )

    return app


def _main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        app = create_app(f"http://127.0.0.1:{sys.argv[1]}")
        config = uvicorn.Config(app, log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    _main()
