"""What the routes of one API process share."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from trunkline_api.auth import ApiKeys
from trunkline_api.settings import ApiSettings
from trunkline_api.targets import Targets
from trunkline_shared.config.models import Config


class Hub(Protocol):
    """What readiness asks of the hub."""

    @property
    def ready(self) -> bool:
        """Whether the reply channel's subscription is confirmed."""


class Runs(Protocol):
    """What health asks of the queue's side. Both answer in time and never raise."""

    async def redis_alive(self) -> bool: ...

    async def has_worker(self) -> bool:
        """Whether any worker of any pool has renewed its lease of late."""


class Births(Protocol):
    """What the models' routes ask of Redis."""

    async def of(self, models: Iterable[str]) -> Mapping[str, int]:
        """Since when the deployment knows them, Unix seconds. Raises ApiError."""


class Resource(Protocol):
    """Something that lives as long as the process takes requests."""

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The end of a process in two steps; routes watch both.

    `draining`: SIGTERM came, readiness is off, a disconnect no longer means that a client left.
    `closing`: the grace is over, what still streams ends now with an error.
    """

    draining: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Handed to every route; made once, in the composition root."""

    settings: ApiSettings
    config: Config
    keys: ApiKeys
    hub: Hub
    runs: Runs
    targets: Targets
    births: Births
    shutdown: Shutdown = field(default_factory=Shutdown)
