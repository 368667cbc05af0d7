"""From the configuration to the backends that this worker can run."""

from collections.abc import Mapping

from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.config.readiness import Readiness, profile_readiness, readiness
from trunkline_shared.config.upstreams import resolve_settings
from trunkline_shared.profile import PROFILE_AGENT, profile_agent
from trunkline_shared.run import RunRequest
from trunkline_worker.backends.base import Backend, Unavailable
from trunkline_worker.backends.chat import ChatBackend
from trunkline_worker.backends.echo import EchoBackend
from trunkline_worker.backends.http_client import HttpClient
from trunkline_worker.backends.profiles import ProfileBackends
from trunkline_worker.backends.resolver import Resolver, guarded, of_system
from trunkline_worker.backends.retry import Retry
from trunkline_worker.models import options_of, resolve_models
from trunkline_worker.prices import Prices
from trunkline_worker.settings import WorkerSettings


def build_backend(
    agent: AgentConfig,
    environ: Mapping[str, str],
    settings: WorkerSettings,
    client: HttpClient,
    prices: Prices,
) -> Backend:
    """The backend of a runnable agent. Here a new kind of agent finds its class.

    Raises ConfigError where something is missing, ValueError for a URL or headers that cannot be
    sent.
    """
    match agent.type:
        case "echo":
            return EchoBackend(agent)
        case "chat":
            return ChatBackend(
                agent,
                resolve_models(agent, environ),
                client,
                prices,
                retry=Retry(settings.upstream_retries),
                connect_timeout_s=settings.connect_timeout_s,
                silence_timeout_s=settings.silence_timeout_s,
            )
        case "python":
            from trunkline_worker.python_objects.backend import PythonBackend

            return PythonBackend(agent, options_of(resolve_settings(agent, environ)))
    raise ValueError(f"agents of type {agent.type} cannot run in this version")


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
        self._clients: list[HttpClient] = []
        self._prices = Prices()
        self._backends: dict[str, Backend] = {}
        self._withdrawn: set[Backend] = set()
        self._profiles: ProfileBackends | None = None

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
        self._open_client(Resolver())
        self._agents = [agent for agent in self._agents if await self._open(agent)]
        if self._runs_profiles:
            resolver = Resolver(of_system if self._settings.allow_link_local else guarded())
            self._profiles = ProfileBackends(
                self._profile_agent,
                self._environ,
                self._settings,
                self._open_client(resolver),
                self._prices,
            )
            self._profiles.open()

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
        while self._clients:
            await self._clients.pop().aclose()

    def _open_client(self, resolver: Resolver) -> HttpClient:
        client = HttpClient(resolver)
        self._clients.append(client)
        return client

    async def _open(self, agent: AgentConfig) -> bool:
        client, *_ = self._clients
        try:
            backend = build_backend(agent, self._environ, self._settings, client, self._prices)
        except ValueError as error:  # one agent's mistake is none of the others'
            self.lacking[agent.name] = (*self.lacking.get(agent.name, ()), str(error))
            return False
        await backend.open()
        self._backends[agent.name] = backend
        return True

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
