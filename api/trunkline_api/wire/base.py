"""What all wire models share."""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


class Wire(BaseModel):
    """A JSON object from a client: types are exact, unknown members are tolerated."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError("JSON with integers of at most 64 bits") from error
    return value


FreeObject = Annotated[dict[str, Any], AfterValidator(_storable)]
"""An object whose members are not ours to judge, as long as it can be passed on."""

_T = TypeVar("_T")
Many = Annotated[list[_T], Field(fail_fast=True)]
"""An array of which only the first mistake is told: a large body can hold millions."""

NonEmpty = Annotated[str, StringConstraints(min_length=1)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
"""Some providers allow only 64 characters and no dots; theirs is the answer then."""
