"""The way from a walled-in command line to its model: a socket of the run's own.

It asks for Anthropic's Messages through it and knows no key. Here the key is added, a failed call
is made again or ends the run, and nothing is asked that the run's limits, or a lost lease, forbid.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from trunkline_worker.backends.http_client import HttpClient, origin_of, post_head
from trunkline_worker.backends.http_connection import CallError, Origin
from trunkline_worker.backends.retry import Attempts, Retry
from trunkline_worker.backends.upstream_errors import Fault, of_exception
from trunkline_worker.claude_code.answer import Answer
from trunkline_worker.claude_code.visitor import Asked, Visitor
from trunkline_worker.models import ModelSpec

_PATHS: Final = ("/v1/messages", "/v1/messages/count_tokens")
_PASSED: Final = ("anthropic-version", "anthropic-beta", "content-type", "accept", "user-agent")


@dataclass(frozen=True, slots=True)
class Behind:
    """What the door leads to."""

    client: HttpClient
    origin: Origin
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    extra_body: Mapping[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    retry: Retry
    connect_timeout_s: float
    silence_timeout_s: float

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        client: HttpClient,
        *,
        retry: Retry,
        connect_timeout_s: float,
        silence_timeout_s: float,
    ) -> "Behind":
        """Raises ValueError for a URL or headers that cannot be sent."""
        headers = {"accept-encoding": "identity"}
        if spec.api_key is not None:
            headers["x-api-key"] = spec.api_key
        headers |= {name.lower(): value for name, value in spec.extra_headers.items()}
        post_head(spec.base_url, _PATHS[0], headers)
        origin = origin_of(spec.base_url)
        hidden = (spec.api_key or "", *spec.extra_headers.values(), origin.host)
        return cls(
            client,
            origin,
            spec.base_url,
            headers,
            spec.extra_body,
            tuple(secret for secret in hidden if len(secret) >= 6),
            retry,
            connect_timeout_s,
            silence_timeout_s,
        )

    def request(self, asked: Asked) -> bytes:
        """Raises ValueError for a body that is no JSON object, or a header that cannot be sent."""
        passed = {name: asked.headers[name] for name in _PASSED if name in asked.headers}
        head = post_head(self.base_url, asked.path, {**passed, **self.headers})
        body = asked.body
        if self.extra_body:
            body = orjson.dumps({**orjson.loads(body), **self.extra_body})
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)


class Door:
    """Open between `open` and `aclose`, at `path`, which must not be there before.

    `admit` is awaited before every call of the model; it does not return when there is to be none.
    `failed` is told of a call that is given up, and whether its answer had begun.
    """

    def __init__(
        self,
        path: Path,
        behind: Behind,
        *,
        admit: Callable[[], Awaitable[None]],
        failed: Callable[[Fault, bool], None],
    ) -> None:
        self._path = path
        self._behind = behind
        self._admit = admit
        self._failed = failed
        self._visitors: set[Visitor] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Visitor(self), str(self._path))

    async def aclose(self) -> None:
        """What is asked is broken off, here and upstream."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for visitor in list(self._visitors):
            visitor.abort()

    def came(self, visitor: Visitor) -> None:
        self._visitors.add(visitor)

    def left(self, visitor: Visitor) -> None:
        self._visitors.discard(visitor)

    def asked(self, visitor: Visitor, asked: Asked) -> asyncio.Task[None]:
        """Begins to answer; whoever asked may cancel it."""
        task = asyncio.create_task(self._answer(visitor, asked), name="door:answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, visitor: Visitor, asked: Asked) -> None:
        if asked.method != "POST" or asked.path not in _PATHS:
            visitor.refuse(404, "There is nothing here but POST /v1/messages.")
            return
        try:
            request = self._behind.request(asked)
        except ValueError as error:
            visitor.refuse(400, str(error))
            return
        counts = asked.path == _PATHS[0]
        attempts = Attempts(1, self._behind.retry)
        while True:
            await self._admit()
            answer = Answer(visitor, self._behind.secrets)
            fault = await self._call(answer, request)
            if fault is None:
                return
            pause_s = None if answer.begun else attempts.after(fault, random.random())
            if pause_s is None:
                break
            await asyncio.sleep(pause_s)
        if counts:
            self._failed(fault, answer.begun)
        visitor.refuse(500, "The model cannot be asked.")

    async def _call(self, answer: Answer, request: bytes) -> Fault | None:
        behind = self._behind
        try:
            connection = await behind.client.connect(behind.origin, behind.connect_timeout_s)
        except CallError as error:
            return of_exception(error)
        connection.call(answer, request, behind.silence_timeout_s)
        try:
            return await answer.done
        except asyncio.CancelledError:
            connection.leave(answer)
            raise
        finally:
            if answer.broken:
                connection.leave(answer)
