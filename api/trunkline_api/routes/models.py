"""GET /v1/models and /v1/models/{id}: the agents of the configuration, and saved profiles."""

from typing import Final

from fastapi import APIRouter, Depends

from trunkline_api.deps import principal_of
from trunkline_api.errors import model_not_found
from trunkline_api.gateway import Gateway
from trunkline_api.profiles import Listed
from trunkline_api.wire.models import ModelList, ModelObject
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.profile import MODEL_PREFIX

# One moment for all agents, 2026-01-01: nothing that an API process sees of an agent has the same
# age on every machine and after every restart, and clients want this number never to change.
CREATED: Final = 1_767_225_600


def models_router(gateway: Gateway) -> APIRouter:
    """Lists every configured agent, also those that no worker can run at the moment, and every
    profile."""
    agents, profiles = gateway.config.agents, gateway.profiles
    router = APIRouter(
        prefix="/v1/models", tags=["Models"], dependencies=[Depends(principal_of(gateway))]
    )

    @router.get("", response_model_exclude_none=True)
    async def list_models() -> ModelList:
        """All agents, in the order of the configuration, then all profiles by name."""
        saved = [_profile(each) for each in await profiles.all()]
        listed = [_model(agent) for agent in agents.values()]
        return ModelList(data=[*listed, *(each for each in saved if each.id not in agents)])

    # Ids may hold slashes, which arrive here decoded in either spelling.
    @router.get("/{model:path}", response_model_exclude_none=True)
    async def get_model(model: str) -> ModelObject:
        """One agent; its id may contain `/` and `:`."""
        if model in agents:
            return _model(agents[model])
        if model.startswith(MODEL_PREFIX):
            for each in await profiles.all():
                if model == MODEL_PREFIX + each.name:
                    return _profile(each)
        raise model_not_found(model, agents)

    return router


def _profile(listed: Listed) -> ModelObject:
    created = listed.record.created if listed.record else CREATED
    return ModelObject(id=MODEL_PREFIX + listed.name, created=created, owned_by="openhands")


def _model(agent: AgentConfig) -> ModelObject:
    return ModelObject(id=agent.name, created=CREATED, description=agent.description)
