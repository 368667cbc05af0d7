"""From the configuration to the backends that this worker can run."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Protocol

from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.config.readiness import Readiness, profile_readiness, readiness
from trunkline_shared.config.upstreams import resolve_settings
from trunkline_shared.errors import TrunklineError
from trunkline_shared.profile import PROFILE_AGENT, profile_agent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Backend, Unavailable
from trunkline_worker.backends.echo import EchoBackend
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.lane import (
    Calling,
    LaneBackend,
    direct_lane,
    fits_direct_lane,
    open_lane,
)
from trunkline_worker.backends.profiles import ProfileBackends
from trunkline_worker.backends.resolver import Resolver, guarded, of_system
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import options_of, resolve_models
from trunkline_worker.prices import Prices
from trunkline_worker.settings import WorkerSettings
from trunkline_worker.toolsets.build import Workshop


def build_backend(
    agent: AgentConfig, environ: Mapping[str, str], workshop: Workshop, calling: Calling
) -> Backend:
    """The backend of a runnable agent. Here a new kind of agent finds its class.

    Raises ConfigError where something is missing, ValueError for a URL or headers that cannot be
    sent.
    """
    match agent.type:
        case "echo":
            return EchoBackend(agent)
        case "chat":
            models = resolve_models(agent, environ)
            if fits_direct_lane(agent, models):
                return direct_lane(agent, models, calling)
            toolsets = workshop.toolsets(agent)
            return LaneBackend(
                lambda: open_lane(agent, models, toolsets, workshop.workspaces, calling)
            )
        case "python":
            from trunkline_worker.python_objects.backend import PythonBackend

            return PythonBackend(agent, options_of(resolve_settings(agent, environ)))
    raise ValueError(f"agents of type {agent.type} cannot run in this version")


class Opens(Protocol):
    async def open(self) -> None:
        """Raises ValueError or TrunklineError, which say what is missing."""


def _fitting(agent: AgentConfig, settings: WorkerSettings) -> Readiness | None:
    """What is in the way if the agent does not fit into this worker."""
    if agent.slots <= settings.slots:
        return None
    lack = f"it takes {agent.slots} slots, and this worker has {settings.slots}"
    return Readiness(False, (lack,))


class Backends:
    """One backend for each runnable agent, and the one HTTP client that they share.

    Profiles are run by an agent of their own, over a client of their own: where that connects to
    is not the operator's choice.
    """

    def __init__(
        self, config: Config, settings: WorkerSettings, environ: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._environ = environ
        ready = {
            agent.name: _fitting(agent, settings) or readiness(agent, environ)
            for agent in config.agents.values()
        }
        self._agents = [agent for name, agent in config.agents.items() if ready[name].runnable]
        self.lacking = {name: each.missing for name, each in ready.items() if each.missing}
        """What agents, or parts of their fallback chains, miss to run here, in sentences."""
        self._timeouts_s = {agent.name: agent.limits.timeout_s for agent in self._agents}
        self._profile_agent = profile_agent(config)
        self._runs_profiles = self._ready_for_profiles()
        self._open_ones = AsyncExitStack()
        self._workshop = Workshop(settings, environ, config.agents, self)
        self._prices = Prices()
        self._backends: dict[str, Backend] = {}
        self._withdrawn: set[Backend] = set()
        self._profiles: ProfileBackends | None = None
        self._calling: Calling | None = None

    @property
    def runnable(self) -> tuple[str, ...]:
        """Names of the agents that can run here; `open` may yet find some that cannot."""
        names = [agent.name for agent in self._agents]
        return tuple([*names, PROFILE_AGENT] if self._runs_profiles else names)

    def get(self, request: RunRequest) -> Backend:
        """The opened backend. Raises Unavailable where the run cannot be executed here."""
        if request.profile and self._profiles is not None:
            return self._profiles.get(request.profile)
        backend = self._backends.get(request.agent)
        if backend is None or request.profile:
            raise Unavailable("This worker cannot run the agent.")
        return backend

    def timeout_s(self, agent: str) -> float:
        """The agent's `limits.timeout_s`. Raises KeyError for one that cannot run here."""
        return self._timeouts_s[agent]

    async def open(self) -> None:
        """Opens every backend. May take seconds, for imports."""
        self._calling = self._calls_over(Resolver())
        await self._open_ones.enter_async_context(self._workshop)
        self._agents = [agent for agent in self._agents if await self._open(agent)]
        if self._runs_profiles:
            allow = self._settings.allow_link_local
            profiles = ProfileBackends(
                self._profile_agent,
                self._environ,
                self._settings,
                self._workshop,
                self._calls_over(Resolver(of_system if allow else guarded())),
            )
            self._runs_profiles = await self._opened(PROFILE_AGENT, profiles)
            if self._runs_profiles:
                self._profiles = profiles
                self._open_ones.push_async_callback(profiles.aclose)

    async def add(self, agent: AgentConfig) -> None:
        """Opens one more, after `open`; what it lacks is then in `lacking`."""
        ready = _fitting(agent, self._settings) or readiness(agent, self._environ)
        if ready.missing:
            self.lacking[agent.name] = ready.missing
        if ready.runnable and await self._open(agent):
            self._agents.append(agent)
            self._timeouts_s[agent.name] = agent.limits.timeout_s

    def withdraw(self, name: str) -> Backend | None:
        """Takes an agent out of `runnable`. Until `close` its runs still find its backend."""
        self._agents = [agent for agent in self._agents if agent.name != name]
        self.lacking.pop(name, None)
        backend = self._backends.get(name)
        if backend is not None:
            self._withdrawn.add(backend)
        return backend

    async def close(self, name: str, backend: Backend) -> None:
        """Closes what was withdrawn, when no run of it is left."""
        if self._backends.get(name) is backend:  # not, where one of that name was added since
            del self._backends[name]
        self._withdrawn.discard(backend)
        await backend.aclose()

    async def aclose(self) -> None:
        """Closes every backend, then their clients."""
        for backend in {*self._backends.values(), *self._withdrawn}:
            await backend.aclose()
        self._backends.clear()
        self._withdrawn.clear()
        self._profiles = None
        await self._open_ones.aclose()

    def _calls_over(self, resolver: Resolver) -> Calling:
        client = HttpClient(resolver)
        self._open_ones.push_async_callback(client.aclose)
        return Calling(
            client=client,
            prices=self._prices,
            retry=Retry(self._settings.upstream_retries),
            connect_timeout_s=self._settings.connect_timeout_s,
            silence_timeout_s=self._settings.silence_timeout_s,
        )

    async def _open(self, agent: AgentConfig) -> bool:
        assert self._calling is not None
        try:
            backend = build_backend(agent, self._environ, self._workshop, self._calling)
        except ValueError as error:  # one agent's mistake is none of the others'
            return self._lacks(agent.name, error)
        if await self._opened(agent.name, backend):
            self._backends[agent.name] = backend
            return True
        return False

    async def _opened(self, name: str, backend: Opens) -> bool:
        try:
            await backend.open()
        except (ValueError, TrunklineError) as error:
            return self._lacks(name, error)
        return True

    def _lacks(self, name: str, error: Exception) -> bool:
        self.lacking[name] = (*self.lacking.get(name, ()), str(error))
        return False

    def _ready_for_profiles(self) -> bool:
        agent = self._profile_agent
        if agent.pool not in self._settings.pool:
            return False
        ready = _fitting(agent, self._settings) or profile_readiness(agent, self._environ)
        if ready.missing:
            self.lacking[agent.name] = ready.missing
        if ready.runnable:
            self._timeouts_s[agent.name] = agent.limits.timeout_s
        return ready.runnable
