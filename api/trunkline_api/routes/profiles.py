"""/api/profiles: LLMs that are saved while the server runs, as OpenHands' agent server has it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Request

from trunkline_api.auth import Principal
from trunkline_api.deps import admin_of, body_as
from trunkline_api.errors import ApiError, profile_not_found, unprocessable
from trunkline_api.gateway import Gateway
from trunkline_api.profile_check import ProfileCheck
from trunkline_api.profile_secrets import EXPOSE_HEADER, decrypted, exposed
from trunkline_api.profiles import MAX_PROFILES, Listed, Profiles
from trunkline_api.wire.profiles import (
    ProfileActivated,
    ProfileChanged,
    ProfileDetail,
    ProfileInfo,
    ProfileList,
    ProfileValidated,
    RenameProfile,
    SaveProfile,
    ValidateProfile,
)
from trunkline_shared.addresses import check_reachable_url
from trunkline_shared.llm import Llm
from trunkline_shared.profile import MODEL_PREFIX, NAME_PATTERN, NoSecretKey, seal_llm
from trunkline_shared.vault import Unreadable

_Name = Annotated[str, Path(min_length=1, max_length=64, pattern=NAME_PATTERN)]


def profiles_router(gateway: Gateway, profiles: Profiles, check: ProfileCheck) -> APIRouter:
    """All of it is for admins: a profile says where workers connect to, and is everybody's."""
    admin = admin_of(gateway)
    router = APIRouter(prefix="/api/profiles", tags=["Profiles"], dependencies=[Depends(admin)])
    allow_link_local = gateway.settings.allow_link_local

    @router.get("")
    async def list_profiles() -> ProfileList:
        """All profiles by name, and which was activated last."""
        listed = list(map(_info, await profiles.all()))
        return ProfileList(profiles=listed, active_profile=await profiles.active())

    @router.get("/{name}")
    async def get_profile(
        name: _Name, expose: Annotated[str | None, Header(alias=EXPOSE_HEADER)] = None
    ) -> ProfileDetail:
        """The whole configuration; secrets only with `X-Expose-Secrets: plaintext|encrypted`."""
        llm = await _found(profiles, name)
        config = exposed(llm, expose, profiles.vault)
        return ProfileDetail(name=name, config=config, api_key_set=llm.api_key is not None)

    @router.post("/{name}", status_code=201)
    async def save_profile(
        name: _Name, body: Annotated[SaveProfile, Depends(body_as(gateway, SaveProfile))]
    ) -> ProfileChanged:
        """Saves or overwrites a profile; it is the model `openhands_<name>` at once."""
        llm = _checked(body.llm, profiles, allow_link_local=allow_link_local)
        await _save(profiles, name, llm if body.include_secrets else llm.with_secrets(_nothing))
        return ProfileChanged(name=name, message=f"Profile '{name}' saved")

    @router.delete("/{name}")
    async def delete_profile(name: _Name) -> ProfileChanged:
        """Also what does not exist is deleted afterwards."""
        await profiles.delete(name)
        return ProfileChanged(name=name, message=f"Profile '{name}' deleted")

    @router.post("/{name}/rename")
    async def rename_profile(
        name: _Name, body: Annotated[RenameProfile, Depends(body_as(gateway, RenameProfile))]
    ) -> ProfileChanged:
        """The old name is no model from then on."""
        return await _rename(profiles, name, body.new_name)

    @router.post("/{name}/activate")
    async def activate_profile(name: _Name) -> ProfileActivated:
        """Notes it as `active_profile`; which model runs is said by each request, as before."""
        return await _activate(profiles, name)

    @router.post("/{name}/validate")
    async def validate_profile(
        request: Request,
        name: _Name,
        principal: Annotated[Principal, Depends(admin)],
        body: Annotated[ValidateProfile, Depends(body_as(gateway, ValidateProfile))],
    ) -> ProfileValidated:
        """Asks the configuration's model for one token, by a worker; nothing is saved."""
        llm = _checked(body.llm, profiles, allow_link_local=allow_link_local)
        # Once: with pauses between tries, what cannot be reached would look slow.
        sealed = _sealed(llm.model_copy(update={"num_retries": 0}), profiles)
        return await check.check(MODEL_PREFIX + name, sealed, principal, request.receive)

    return router


def _checked(llm: Llm, profiles: Profiles, *, allow_link_local: bool) -> Llm:
    for name, url in (("base_url", llm.base_url), ("ollama_base_url", llm.ollama_base_url)):
        try:
            check_reachable_url(url or "http://unset", allow_link_local=allow_link_local)
        except ValueError as error:
            mistake = {"type": "value_error", "loc": ("body", "llm", name), "msg": str(error)}
            raise unprocessable([mistake]) from None
    return decrypted(llm, profiles.vault)


def _sealed(llm: Llm, profiles: Profiles) -> str:
    try:
        return seal_llm(llm, profiles.vault)
    except NoSecretKey as error:
        raise ApiError(409, f"The profile was not taken: {error}.", code="no_secret_key") from None


async def _save(profiles: Profiles, name: str, llm: Llm) -> None:
    sealed = _sealed(llm, profiles)
    if not await profiles.save(name, sealed):
        message = f"Profile limit reached ({MAX_PROFILES}). "
        message += "Delete a profile before saving a new one."
        raise ApiError(409, message, code="too_many_profiles")


async def _rename(profiles: Profiles, name: str, new_name: str) -> ProfileChanged:
    match await profiles.rename(name, new_name):
        case "missing":
            raise profile_not_found(name)
        case "taken":
            message = f"Profile '{new_name}' already exists"
            raise ApiError(409, message, code="profile_exists", param="new_name")
        case "unchanged":
            message = f"Profile '{name}' unchanged (same name)"
        case "renamed":
            message = f"Profile '{name}' renamed to '{new_name}'"
    return ProfileChanged(name=new_name, message=message)


async def _activate(profiles: Profiles, name: str) -> ProfileActivated:
    if not await profiles.activate(name):
        raise profile_not_found(name)
    message = f"Profile '{name}' activated and applied to current settings"
    return ProfileActivated(name=name, message=message)


def _nothing(where: str, secret: str) -> None:
    """What remains of a secret that is not to be kept."""


def _info(listed: Listed) -> ProfileInfo:
    llm = listed.llm
    return ProfileInfo(
        name=listed.name,
        model=llm.model if llm else None,
        base_url=llm.base_url if llm else None,
        provider_connection_id=llm.provider_connection_id if llm else None,
        api_key_set=llm is not None and llm.api_key is not None,
    )


async def _found(profiles: Profiles, name: str) -> Llm:
    try:
        llm = await profiles.get(name)
    except Unreadable as error:
        message = f"Profile '{name}' cannot be read: {error}"
        raise ApiError(409, message, code="profile_unreadable") from None
    if llm is None:
        raise profile_not_found(name)
    return llm
