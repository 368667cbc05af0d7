"""An endpoint that runs agents, without a queue: what its relay passes on is a script."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import orjson

from tests.api.fake_completions import completions
from tests.api.fake_gateway import CONFIG, FakeBirths, FakeHub, FakeRuns, fake_targets
from trunkline_api.answer import Answer, Question
from trunkline_api.auth import ApiKeys
from trunkline_api.exchange import Exchanges
from trunkline_api.gateway import Gateway
from trunkline_api.headers import Headers
from trunkline_api.relay import Batch
from trunkline_api.routes.chat import chat_question
from trunkline_api.settings import ApiSettings
from trunkline_api.submission import Admission
from trunkline_shared.config.models import Config
from trunkline_shared.events import Failed, Finished
from trunkline_shared.run import RunRequest

SOON_S = 0.05


class FakeRelay:
    """Passes on a script: lists are events, None is silence, errors are raised."""

    def __init__(self, script: Sequence[Any]) -> None:
        self.script = [*script]
        self.ended = False
        self.shared = False
        self.seq = 2
        self.waited: list[float] = []

    def go_straight(self, client: Any, tell: Any) -> None:
        """All comes from `next`."""

    async def is_shared(self) -> bool:
        return self.shared

    async def next(self, timeout_s: float) -> list[Batch] | None:
        self.waited.append(timeout_s)
        step = self.script.pop(0)
        if step is None:
            await asyncio.sleep(min(timeout_s, SOON_S))
            return None
        if isinstance(step, BaseException):
            raise step
        batch = Batch(self.seq, step)
        self.seq += len(step)
        self.ended = isinstance(step[-1], Finished | Failed)
        return [batch]


class FakeFollow:
    reply = "back"

    def __init__(self, script: Sequence[Any], refusal: Exception | None) -> None:
        self.relay = FakeRelay(script)
        self.refusal = refusal
        self.left_early: list[bool] = []
        self.asked: list[tuple[RunRequest, Admission]] = []

    @asynccontextmanager
    async def run(
        self, request: RunRequest, admission: Admission, client: Any
    ) -> AsyncIterator[FakeRelay]:
        self.asked.append((request, admission))
        if self.refusal is not None:
            raise self.refusal
        try:
            yield self.relay
        finally:
            self.left_early.append(not self.relay.ended)


class Reply:
    """One request to the chat route, or another's, and all that was sent."""

    path = "/v1/chat/completions"
    parse: Callable[[bytes, Headers], Question] = staticmethod(chat_question(completions()))
    config: ClassVar[Config] = CONFIG
    question: ClassVar[dict[str, Any]] = {"messages": [{"role": "user", "content": "hi"}]}

    def __init__(self, *script: Any, refusal: Exception | None = None, **settings: Any) -> None:
        options = {"headers_after_s": SOON_S, "heartbeat_s": SOON_S} | settings
        self.follow = FakeFollow(script, refusal)
        targets = fake_targets(self.config)
        fakes = (FakeHub(), FakeRuns(), targets, FakeBirths())
        gateway = Gateway(ApiSettings(**options), self.config, ApiKeys(), *fakes)
        self.app = Exchanges(Answer(gateway, self.follow, targets, self.parse))  # type: ignore[arg-type]
        self.sent: list[dict[str, Any]] = []
        self.sent_headers: list[tuple[bytes, bytes]] = []

    async def ask(self, *, stream: bool = True, body: bytes | None = None, **more: Any) -> "Reply":
        values = {"model": "echo", **self.question}
        body = orjson.dumps(values | {"stream": stream} | more) if body is None else body
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        headers = [(b"content-type", b"application/json"), *self.sent_headers]

        async def receive() -> dict[str, Any]:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)

        scope = {"type": "http", "method": "POST", "path": self.path, "headers": headers}
        async with asyncio.timeout(20):
            await self.app(scope, receive, send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def error(self) -> dict[str, Any]:
        """The envelope of a reply that is no stream."""
        (error,) = orjson.loads(self.body).values()
        assert error.keys() == {"message", "type", "param", "code"}
        return dict(error)

    @property
    def is_whole(self) -> bool:
        return not self.sent[-1].get("more_body", False)
