"""An API tier without Redis: its queue side is told what to say, its agent answers a script."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import APIRouter

from trunkline_api.app import CHAT_PATH, Application, create_app
from trunkline_api.auth import ApiKeys
from trunkline_api.chat_request import fill_in
from trunkline_api.errors import ApiError, Send, send_error
from trunkline_api.exchange import ASGIApp, Receive, Scope
from trunkline_api.gateway import Births, Gateway, Resource
from trunkline_api.headers import by_name
from trunkline_api.render.chat import ChatRenderer
from trunkline_api.render.completion import render_completion
from trunkline_api.settings import ApiSettings
from trunkline_api.shown_tools import shows_tools
from trunkline_api.targets import Targets
from trunkline_api.wire.chat import ChatRequest, parse_chat
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.events import Finished, RunEvent, TextDelta
from trunkline_shared.fold import Fold
from trunkline_shared.profile import profile_agent
from trunkline_shared.run import RunRequest, new_run_id

AGENTS = {
    name: AgentConfig(name=name, type="echo", description=description)
    for name, description in {"echo": "Says it again.", "team/coder:v2": None}.items()
}
BORN = 1_767_225_600
CONFIG = Config(path="agents.yml", agents=AGENTS)


@dataclass
class FakeHub:
    ready: bool = True


@dataclass
class FakeRuns:
    redis: bool = True
    worker: bool = True

    async def redis_alive(self) -> bool:
        return self.redis

    async def has_worker(self) -> bool:
        return self.worker


class FakeBirths:
    """Every model was first seen at the same moment."""

    async def of(self, models: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(models, BORN)


@dataclass
class FakeProfiles:
    """`saved`: what is sealed, by name."""

    saved: dict[str, str] = field(default_factory=dict)

    async def names(self) -> list[str]:
        return sorted(self.saved)

    async def sealed(self, name: str) -> str | None:
        return self.saved.get(name)


def fake_targets(config: Config, profiles: FakeProfiles | None = None) -> Targets:
    return Targets(config.agents, profiles or FakeProfiles(), profile_agent(config))


@dataclass
class ScriptedChat:
    """The chat route without a queue: every run emits `script`."""

    script: Sequence[RunEvent] = (TextDelta("Hel"), TextDelta("lo"), Finished("stop"))
    requests: list[RunRequest] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            shown = shows_tools(by_name(scope["headers"]))
            await self._answer(parse_chat(body), send, shown)
        except ApiError as error:
            await send_error(send, error)

    async def _answer(self, request: ChatRequest, send: Send, shown: bool) -> None:
        run_id = new_run_id()
        agent = AGENTS[request.model]
        run = RunRequest(run_id, agent.name, principal="tester")
        fill_in(run, request)
        self.requests.append(run)
        if request.stream:
            renderer = ChatRenderer(
                run_id, request.model, include_usage=request.include_usage, show_tools=shown
            )
            payload, media = renderer.render(self.script), b"text/event-stream"
        else:
            fold = Fold()
            fold.add(1, self.script)
            payload = render_completion(run_id, request.model, fold.result(), show_tools=shown)
            media = b"application/json"
        headers = [(b"content-type", media)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})


def application(
    chat: Any = None,
    *,
    hub: FakeHub | None = None,
    runs: FakeRuns | None = None,
    profiles: FakeProfiles | None = None,
    resources: Sequence[Resource] = (),
    config: Config = CONFIG,
    routers: Sequence[APIRouter] = (),
    keys: ApiKeys | None = None,
    births: Births | None = None,
    websocket: ASGIApp | None = None,
    **settings: Any,
) -> Application:
    """A whole application of fakes; `settings` are fields of ApiSettings."""
    read = ApiSettings(**settings)
    gateway = Gateway(
        read,
        config,
        ApiKeys.from_settings(read) if keys is None else keys,
        hub or FakeHub(),
        runs or FakeRuns(),
        fake_targets(config, profiles),
        births or FakeBirths(),
    )
    answers = {CHAT_PATH: chat or ScriptedChat()}
    return create_app(gateway, answers, resources, routers, websocket)


def client(app: Application) -> httpx.AsyncClient:
    """Speaks to the application without a socket. Exceptions stay inside it, as in a server."""
    transport = httpx.ASGITransport(app.asgi, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
