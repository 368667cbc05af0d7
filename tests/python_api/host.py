"""What the tests of a server inside a program share."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.patience import PATIENCE_S
from trunkline import AgentPool, OpenAIAPIServer

ROOT = Path(__file__).parents[2]
ECHO: dict[str, Any] = {"model": "echo", "echo": {"words_per_second": 0}}
SLOW: dict[str, Any] = {"model": "echo", "echo": {"words_per_second": 20, "words": 400}}


@asynccontextmanager
async def serving(pool: AgentPool, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server on some free port."""
    server = OpenAIAPIServer(pool, port=0, **options)
    async with server, server.run_context(), client_of(server) as client:
        yield client


def client_of(server: OpenAIAPIServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE_S)


def asked(text: str, agent: str, **more: Any) -> dict[str, Any]:
    return {"model": agent, "messages": [{"role": "user", "content": text}], **more}


async def said(client: httpx.AsyncClient, text: str, agent: str, base: str = "") -> str:
    """The whole answer, or the code of the error."""
    reply = await client.post(f"{base}/v1/chat/completions", json=asked(text, agent))
    body = reply.json()
    return str(
        body["choices"][0]["message"]["content"]
        if reply.status_code == 200
        else f"{reply.status_code} {body['error']['code']}"
    )


def children() -> set[str]:
    """The processes that this one has started and not collected."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {pid for each in lists for pid in each.read_text().split()}


def program(directory: Path, text: str, **environ: str) -> "subprocess.Popen[str]":
    """Somebody's program in a directory of theirs, run there; it speaks in `stdout`."""
    (directory / "program.py").write_text(text)
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    path = os.pathsep.join(str(ROOT / tier) for tier in ("api", "worker", "shared", ""))
    return subprocess.Popen(
        [sys.executable, "-W", "error", "program.py"],
        cwd=directory,
        env={**kept, "PYTHONPATH": path, "TMPDIR": str(directory), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
