"""What a model's name stands for: the agent that runs, and with which LLM."""

from collections.abc import Awaitable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from trunkline_api.auth import Principal
from trunkline_api.errors import (
    ApiError,
    invalid,
    model_not_found,
    profile_not_found,
    redis_away,
)
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.errors import RedisUnavailable
from trunkline_shared.profile import MODEL_PREFIX, is_profile_name

_T = TypeVar("_T")


class Target(NamedTuple):
    """`profile` is the sealed LLM that the agent is to use, "" for its own."""

    model: str
    agent: AgentConfig
    profile: str = ""


class SavedProfiles(Protocol):
    async def names(self) -> list[str]:
        """Of all profiles, sorted."""

    async def sealed(self, name: str) -> str | None:
        """The sealed LLM of a profile, if there is one of this name."""


class Targets:
    """Finds targets. `agents` may change while the process lives; `profile_agent` runs all
    `profiles`, which are the models `openhands_<name>` unless an agent is called so."""

    def __init__(
        self,
        agents: Mapping[str, AgentConfig],
        profiles: SavedProfiles,
        profile_agent: AgentConfig,
    ) -> None:
        self._agents = agents
        self._profiles = profiles
        self._profile_agent = profile_agent

    async def find(self, model: str, principal: Principal) -> Target:
        """Raises ApiError: 404 for a model that does not exist, 403 for one that is not allowed,
        400 for one that no profile can be."""
        agent = self._agents.get(model)
        if agent is None:
            if self.converses(model):
                return await self._of_profile(model, principal)
            raise model_not_found(model, filter(principal.may_use, self._agents))
        check_allowed(model, principal)
        return Target(model, agent)

    def converses(self, model: str) -> bool:
        """Whether runs of this model are always part of a conversation."""
        return model.startswith(MODEL_PREFIX) and model not in self._agents

    async def listed(self, principal: Principal) -> list[Target]:
        """All that the principal may use: agents in their order, then profiles by name, whose
        LLM is left out. Asked again at every request. Raises ApiError 503."""
        found = {model: Target(model, agent) for model, agent in self._agents.items()}
        for name in await self._answered(self._profiles.names()):
            model = MODEL_PREFIX + name
            found.setdefault(model, Target(model, self._profile_agent))
        return [target for model, target in found.items() if principal.may_use(model)]

    async def _of_profile(self, model: str, principal: Principal) -> Target:
        name = model.removeprefix(MODEL_PREFIX)
        if not is_profile_name(name):
            raise invalid(
                "model",
                f"Invalid profile name: {name[:100]!r}. Profile names must be 1-64 characters, "
                "start with a letter or digit, and contain only letters, digits, '.', '_', or '-'.",
            )
        sealed = await self._answered(self._profiles.sealed(name))
        if sealed is None:
            raise profile_not_found(name)
        check_allowed(model, principal)
        return Target(model, self._profile_agent, sealed)

    async def _answered(self, answer: Awaitable[_T]) -> _T:
        try:
            return await answer
        except RedisUnavailable as error:
            raise redis_away() from error


def check_allowed(model: str, principal: Principal) -> None:
    """Raises ApiError 403 when the principal's key is not for this model."""
    if not principal.may_use(model):
        raise ApiError(
            403,
            f"This API key may not use the model {model!r}; GET /v1/models lists those it may.",
            code="model_not_allowed",
            param="model",
        )
