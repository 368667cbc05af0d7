"""What a model's name stands for: the agent that runs, and with which LLM."""

from collections.abc import Mapping
from dataclasses import dataclass

from trunkline_api.auth import Principal
from trunkline_api.errors import ApiError, model_not_found
from trunkline_shared.config.models import AgentConfig


@dataclass(frozen=True, slots=True)
class Target:
    """`profile` is the sealed LLM that the agent is to use, "" for its own. Runs of one that
    `converses` are always part of a conversation, a new one unless the caller names it."""

    model: str
    agent: AgentConfig
    profile: str = ""
    converses: bool = False


class Targets:
    """Finds targets. `agents` may change while the process lives."""

    def __init__(self, agents: Mapping[str, AgentConfig]) -> None:
        self._agents = agents

    async def find(self, model: str, principal: Principal) -> Target:
        """Raises ApiError: 404 for a model that does not exist, 403 for one that is not allowed."""
        agent = self._agents.get(model)
        if agent is None:
            raise model_not_found(model, filter(principal.may_use, self._agents))
        check_allowed(model, principal)
        return Target(model, agent)

    async def listed(self, principal: Principal) -> list[Target]:
        """All that the principal may use, in their order; asked again at every request."""
        agents = self._agents.items()
        return [Target(model, agent) for model, agent in agents if principal.may_use(model)]


def check_allowed(model: str, principal: Principal) -> None:
    """Raises ApiError 403 when the principal's key is not for this model."""
    if not principal.may_use(model):
        raise ApiError(
            403,
            f"This API key may not use the model {model!r}; GET /v1/models lists those it may.",
            code="model_not_allowed",
            param="model",
        )
