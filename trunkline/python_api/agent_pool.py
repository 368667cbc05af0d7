"""The agents of a program, which may change while servers run on them."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from trunkline_shared.config.load import load_config
from trunkline_shared.config.models import AgentConfig, Config
from trunkline_shared.errors import ConfigError
from trunkline_worker.roster import Roster

logger = logging.getLogger(__name__)


class AgentPool:
    """Agents by name: none, those of a YAML file, or those of a mapping of the same shape.

    Variables and providers' keys are looked up in the environment of the process. A pool belongs to
    one event loop, any number of servers there may serve it. `async with` is allowed and needs
    nothing closed. Raises ConfigError, one line, for the first thing that is wrong.
    """

    def __init__(self, config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> None:
        self.environ: Mapping[str, str] = os.environ
        self.config = Config(path="", agents={}) if config is None else self._load(config)
        self._rosters: list[Roster] = []
        self._changing = asyncio.Lock()

    @property
    def agents(self) -> Mapping[str, AgentConfig]:
        """All agents, read only; what is added and removed later shows in it."""
        return MappingProxyType(self.config.agents)

    async def add_agent(
        self, name: str, model: str | Sequence[str] | None = None, **keys: Any
    ) -> AgentConfig:
        """Adds one agent; `keys` are those of an agent in a file.

        When this returns, every server of the pool lists it and runs it. One that lacks something,
        such as its provider's key, is listed too, and calls to it answer 503. Raises ConfigError,
        or RedisUnavailable, and has then added nothing.
        """
        if model is not None:
            keys["model"] = model
        async with self._changing:
            if name in self.config.agents:
                raise ConfigError(f"agents.{name}: there is one of this name; remove it first")
            agent = self._load({"agents": {name: keys}}).agents[name]
            await self._add_to_rosters(agent)
            self.config.agents[name] = agent
        return agent

    async def remove_agent(self, name: str) -> None:
        """Removes one agent: calls to it are answered 404 from now on, its runs end as they would.

        Raises ConfigError where there is none of this name.
        """
        async with self._changing:
            if name not in self.config.agents:
                raise ConfigError(f"agents.{name}: there is no agent of this name")
            del self.config.agents[name]
            for roster in self._rosters:
                await roster.remove(name)

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """No agent comes or goes meanwhile: a server starts its worker here, then joins."""
        async with self._changing:
            yield

    def join(self, roster: Roster) -> None:
        """From now on the worker of `roster` follows every change."""
        self._rosters.append(roster)

    async def leave(self, roster: Roster) -> None:
        async with self._changing:
            self._rosters.remove(roster)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is held: what agents need to run belongs to the servers."""

    def _load(self, config: str | os.PathLike[str] | Mapping[str, Any]) -> Config:
        source = config if isinstance(config, Mapping) else Path(config)
        loaded = load_config(source, self.environ)
        for each in loaded.ignored:
            logger.warning("%s has no effect: %s", each.key, each.reason)
        return loaded

    async def _add_to_rosters(self, agent: AgentConfig) -> None:
        joined: list[Roster] = []
        try:
            for roster in self._rosters:
                lacking = await roster.add(agent)
                joined.append(roster)
                if lacking:
                    logger.warning("agent %s lacks something: %s", agent.name, "; ".join(lacking))
        except BaseException:
            for roster in joined:
                await roster.remove(agent.name)
            raise
