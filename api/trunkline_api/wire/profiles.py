"""The bodies of /api/profiles, as OpenHands' clients write and read them."""

from typing import Annotated, Any

from pydantic import Field

from trunkline_api.wire.base import Wire
from trunkline_shared.llm import Llm
from trunkline_shared.profile import NAME_PATTERN

_Name = Annotated[str, Field(min_length=1, max_length=64, pattern=NAME_PATTERN)]


class SaveProfile(Wire):
    llm: Llm
    include_secrets: bool = True


class RenameProfile(Wire):
    new_name: _Name


class ValidateProfile(Wire):
    llm: Llm


class ProfileInfo(Wire):
    name: str
    model: str | None
    base_url: str | None
    provider_connection_id: str | None
    provider_connection_broken: bool = False
    api_key_set: bool


class ProfileList(Wire):
    profiles: list[ProfileInfo]
    active_profile: str | None


class ProfileDetail(Wire):
    name: str
    config: dict[str, Any]
    api_key_set: bool


class ProfileChanged(Wire):
    name: str
    message: str


class ProfileActivated(ProfileChanged):
    llm_applied: bool = True


class ProfileError(Wire):
    type: str
    message: str


class ProfileValidated(Wire):
    valid: bool
    error: ProfileError | None = None
