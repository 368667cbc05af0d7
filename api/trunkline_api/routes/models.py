"""GET /v1/models and /v1/models/{id}: what the caller may name as `model`."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends

from trunkline_api.auth import Principal
from trunkline_api.deps import principal_of
from trunkline_api.gateway import Gateway
from trunkline_api.targets import Target
from trunkline_api.wire.models import ModelAbout, ModelCapabilities, ModelList, ModelObject
from trunkline_shared.config.capabilities import capabilities
from trunkline_shared.config.models import AgentConfig
from trunkline_shared.profile import PROFILE_AGENT


def models_router(gateway: Gateway) -> APIRouter:
    """Lists also agents that no worker can run at the moment."""
    router = APIRouter(prefix="/v1/models", tags=["Models"])
    targets, births = gateway.targets, gateway.births
    caller = Depends(principal_of(gateway))

    @router.get("", response_model_exclude_none=True)
    async def list_models(principal: Annotated[Principal, caller]) -> ModelList:
        """All agents that the key may use, in the order of the configuration, then all profiles."""
        listed = await targets.listed(principal)
        born = await births.of(target.model for target in listed)
        return ModelList(data=[_model(target, born[target.model]) for target in listed])

    # Ids may hold slashes, which arrive here decoded in either spelling.
    @router.get("/{model:path}", response_model_exclude_none=True)
    async def get_model(model: str, principal: Annotated[Principal, caller]) -> ModelObject:
        """One agent or profile; its id may contain `/` and `:`."""
        target = await targets.find(model, principal)
        born = await births.of([target.model])
        return _model(target, born[target.model])

    return router


def _about(agent: AgentConfig) -> ModelAbout:
    can = asdict(capabilities(agent))
    shown = ModelCapabilities(**{**can, "refused": sorted(can["refused"])})
    return ModelAbout(type=agent.type, capabilities=shown)


def _model(target: Target, created: int) -> ModelObject:
    return ModelObject(
        id=target.model,
        created=created,
        owned_by="openhands" if target.agent.name == PROFILE_AGENT else "trunkline",
        description=target.agent.description,
        trunkline=_about(target.agent),
    )
