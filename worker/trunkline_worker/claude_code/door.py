"""The way from a walled-in command line to its model: a socket of the run's own.

It asks for Anthropic's Messages through it and knows no key. Here the key is added, a failed call
is made again or ends the run, and nothing is asked that the run's limits, or a lost lease, forbid.
"""

import asyncio
import logging
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from trunkline_shared.logs import log_event
from trunkline_worker.backends.http_client import HttpClient, origin_of, post_head
from trunkline_worker.backends.http_connection import CallError, Origin
from trunkline_worker.backends.retry import Attempts, Retry
from trunkline_worker.backends.upstream_errors import Fault, of_exception
from trunkline_worker.claude_code.answer import Answer
from trunkline_worker.claude_code.lodging import Lodging
from trunkline_worker.claude_code.visitor import Asked, Visitor
from trunkline_worker.models import ModelSpec

logger = logging.getLogger("trunkline.claude_code")

_PATHS: Final = ("/v1/messages", "/v1/messages/count_tokens")
_SOCKET: Final = "door"
_VISITORS: Final = 32
_ASKED_BYTES: Final = 40 << 20  # by all of them at once; Anthropic takes 32 MB of one
_PASSED: Final = ("anthropic-version", "anthropic-beta", "content-type", "accept", "user-agent")


@dataclass(frozen=True, slots=True)
class Behind:
    """A model that the door leads to."""

    spec: ModelSpec
    client: HttpClient
    origin: Origin
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    connect_timeout_s: float
    silence_timeout_s: float

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        client: HttpClient,
        *,
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
            spec,
            client,
            origin,
            headers,
            tuple(secret for secret in hidden if len(secret) >= 6),
            connect_timeout_s,
            silence_timeout_s,
        )

    def request(self, asked: Asked) -> bytes:
        """Raises ValueError or TypeError for a body that is no JSON object, or a header that cannot
        be sent.
        """
        passed = {name: asked.headers[name] for name in _PASSED if name in asked.headers}
        head = post_head(self.spec.base_url, asked.path, {**passed, **self.headers})
        # The command line knows only the first model of a chain.
        values = {**orjson.loads(asked.body), "model": self.spec.name, **self.spec.extra_body}
        body = orjson.dumps(values)
        return b"%b%d\r\n\r\n%b" % (head, len(body), body)


class Door:
    """Open between `open` and `aclose`: a socket of the lodging's where the walls let one through,
    else a port of this machine, to whoever knows `key`.

    `admit` is awaited before every call of a model; it does not return when there is to be none.
    The `models` are a fallback chain: once one was given up, the run stays with the next.
    `failed` is told of a call that is given up, and whether its answer had begun.
    """

    def __init__(
        self,
        lodging: Lodging,
        models: Sequence[Behind],
        retry: Retry,
        *,
        admit: Callable[[ModelSpec], Awaitable[None]],
        failed: Callable[[Fault, bool], None],
    ) -> None:
        self.key = secrets.token_urlsafe()
        self.port = 0
        self._key = self.key.encode()
        self._lodging = lodging
        self._models = models
        self._retry = retry
        self._first = 0
        self._admit = admit
        self._failed = failed
        self._visitors: dict[Visitor, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._lodging.sandbox.kind != "bwrap":  # Landlock lets through ports alone
            self._server = await loop.create_server(lambda: Visitor(self), "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
            return
        with self._lodging.files.at(_SOCKET) as place:
            # A socket's path may have 107 bytes.
            path = f"/proc/self/fd/{place.directory}/{place.name}"
            self._server = await loop.create_unix_server(lambda: Visitor(self), path)
            if (uid := self._lodging.workspace.uid) is not None:
                os.chown(place.name, uid, uid, dir_fd=place.directory, follow_symlinks=False)

    @property
    def variables(self) -> dict[str, str]:
        """How the command line finds it."""
        if self.port:
            url = f"http://127.0.0.1:{self.port}"
            return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": self.key}
        return {
            "ANTHROPIC_BASE_URL": "http://model",
            "ANTHROPIC_UNIX_SOCKET": str(self._lodging.inside / _SOCKET),
            "ANTHROPIC_API_KEY": self.key,
        }

    async def aclose(self) -> None:
        """What is asked is broken off, here and upstream."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for visitor in list(self._visitors):
            visitor.abort()

    def came(self, visitor: Visitor) -> None:
        self._visitors[visitor] = None
        if len(self._visitors) > _VISITORS:  # the first of the strangers leaves
            min(self._visitors, key=lambda each: each.known).abort()

    def left(self, visitor: Visitor) -> None:
        self._visitors.pop(visitor, None)

    def knows(self, headers: Mapping[str, str]) -> bool:
        return secrets.compare_digest(headers.get("x-api-key", "").encode(), self._key)

    def has_room(self) -> bool:
        return sum(each.size for each in self._visitors if each.known) <= _ASKED_BYTES

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
            requests = [model.request(asked) for model in self._models]
        except (ValueError, TypeError) as error:
            visitor.refuse(400, str(error))
            return
        attempts = Attempts(len(self._models), self._retry)
        attempts.model = self._first
        while True:
            model = self._models[attempts.model]
            await self._admit(model.spec)
            answer = Answer(visitor, model.secrets)
            fault = await _call(model, answer, requests[attempts.model])
            if fault is None:
                self._first = attempts.model
                return
            _log(model, fault)
            pause_s = None if answer.begun else attempts.after(fault, random.random())
            if pause_s is None:
                break
            await asyncio.sleep(pause_s)
        if asked.path == _PATHS[0]:
            self._failed(fault, answer.begun)
        visitor.refuse(500, "The model cannot be asked.")


async def _call(model: Behind, answer: Answer, request: bytes) -> Fault | None:
    try:
        connection = await model.client.connect(model.origin, model.connect_timeout_s)
    except CallError as error:
        return of_exception(error)
    connection.call(answer, request, model.silence_timeout_s)
    try:
        return await answer.done
    except asyncio.CancelledError:
        connection.leave(answer)
        raise
    finally:
        if answer.broken:
            connection.leave(answer)


def _log(model: Behind, fault: Fault) -> None:
    log_event(
        logger,
        "upstream failed",
        model=model.spec.name,
        host=model.origin.host,
        code=fault.failed.code,
        cause=fault.cause,
    )
