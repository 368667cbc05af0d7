"""Clients of the chaos tests, and what a run may look like from outside when things die."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.fakes.upstream import words

TIMEOUT = aiohttp.ClientTimeout(total=120)


@dataclass
class Told:
    """Everything one client was told."""

    status: int
    pieces: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    finish: str | None = None
    done: bool = False
    run_id: str = ""
    took_s: float = 0.0
    cut: int = 0  # items of a response that a lost worker left incomplete

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def verdict(self, count: int) -> str:
        """'whole' or 'error'; anything else names the broken promise."""
        expected = "".join(words(count))
        if not expected.startswith(self.text):
            return f"wrong text: {self.text[:80]!r}..."
        if self.error is not None:
            return "error" if self.error.get("code") and not self.done else "an unfit error"
        if self.text == expected and self.finish == "stop" and self.done:
            return "whole"
        return f"quiet end after {len(self.pieces)} pieces (status {self.status})"


async def ask(
    session: aiohttp.ClientSession,
    base_url: str,
    model: str,
    *,
    stream: bool = True,
    text: str = "go",
) -> Told:
    """One request, followed to whatever end it has. A cut connection is a quiet end."""
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}
    began = time.monotonic()
    async with session.post(f"{base_url}/chat/completions", json=body, timeout=TIMEOUT) as reply:
        told = Told(reply.status)
        # What a cut connection leaves out, the verdict names.
        with suppress(aiohttp.ClientPayloadError):
            await (_read_stream(reply, told) if _is_stream(reply) else _read_whole(reply, told))
        told.took_s = time.monotonic() - began
        return told


async def ask_responses(
    session: aiohttp.ClientSession, base_url: str, model: str, *, text: str
) -> Told:
    """One stream of the Responses API; `pieces` are the texts of its whole messages at the end."""
    body = {"model": model, "stream": True, "store": False, "input": text}
    async with session.post(f"{base_url}/responses", json=body, timeout=TIMEOUT) as reply:
        told = Told(reply.status)
        with suppress(aiohttp.ClientPayloadError):
            async for line in reply.content:
                if line.startswith(b"data: {"):
                    _read_event(json.loads(line.removeprefix(b"data: ")), told)
        return told


def _read_event(event: dict[str, Any], told: Told) -> None:
    if event["type"] == "response.created":
        told.run_id = event["response"]["id"].removeprefix("resp_")
    elif event["type"] == "response.failed":
        told.error = event["response"]["error"]
    elif event["type"] == "response.completed":
        told.finish, told.done = "stop", True
        for item in event["response"]["output"]:
            if item["status"] == "incomplete":
                told.cut += 1
            elif item["type"] == "message":
                told.pieces += [part["text"] for part in item["content"]]


def _is_stream(reply: aiohttp.ClientResponse) -> bool:
    return reply.headers["content-type"].startswith("text/event-stream")


async def _read_whole(reply: aiohttp.ClientResponse, told: Told) -> None:
    value = json.loads(await reply.read())
    if "error" in value:
        told.error = value["error"]
        return
    told.run_id = value["id"].removeprefix("chatcmpl-")
    choice = value["choices"][0]
    told.pieces.append(choice["message"]["content"])
    told.finish, told.done = choice["finish_reason"], True


async def _read_stream(reply: aiohttp.ClientResponse, told: Told) -> None:
    async for line in reply.content:
        data = line.removeprefix(b"data: ").strip()
        if not line.startswith(b"data: "):
            continue
        if data == b"[DONE]":
            told.done = True
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            told.error = chunk["error"]
            continue
        told.run_id = chunk["id"].removeprefix("chatcmpl-")
        for choice in chunk["choices"]:
            told.pieces.append(choice["delta"].get("content") or "")
            told.finish = choice["finish_reason"] or told.finish


async def ask_many(
    base_urls: list[str], model: str, count: int, *, stream: bool = True
) -> list[Told]:
    """`count` requests at once, spread over the API processes."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        asked = [
            ask(session, base_urls[number % len(base_urls)], model, stream=stream)
            for number in range(count)
        ]
        return await asyncio.gather(*asked)


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Polls, because what it waits for happens in other processes."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
